"""Stores made by earlier versions open, and every byte, name and attribute in them is as it was."""

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from stratum.core.config import Limits
from stratum.core.objects import PutSpec
from stratum.engine.engine import open_engine
from tests.engine.conftest import ROOT, Clock, read_all
from tests.engine.examination import volumes_of
from tests.engine.operations import Body, bytes_of
from tests.golden import everything
from tests.golden.make import HERE, describe, settings_for

FORMATS = sorted(int(path.stem.removeprefix("format-")) for path in HERE.glob("format-*.json"))
MORE = "more"  # what everything.py describes: of formats since 2


@dataclass(frozen=True)
class Golden:
    """A golden store, unpacked."""

    folder: Path
    expected: dict

    def open(self):
        """With today's limits, whatever they were then."""
        limits = Limits(map_bytes=1 << 26, repair_interval=1e6, reap_interval=1e6, disk_check_interval=1e6)
        if MORE in self.expected:
            return everything.opened(self.folder, limits)
        return open_engine(settings_for(self.folder, limits), root=ROOT, now_ns=Clock())

    async def check(self, engine) -> None:
        """Everything is there, and nothing else."""
        assert as_json(await describe(engine)) == {key: row for key, row in self.expected.items() if key != MORE}
        if MORE in self.expected:
            found, expected = as_json(await everything.describe(engine)), self.expected[MORE]
            assert everything.agrees(found, expected)
            assert found["configurations"].keys() == expected["configurations"].keys()
            for table, rows in expected["rows"].items():
                assert found["rows"][table].keys() == rows.keys()


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    with tarfile.open(HERE / f"format-{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return Golden(tmp_path, json.loads((HERE / f"format-{request.param}.json").read_text()))


def test_there_is_a_golden_store_of_every_format():
    assert FORMATS == [1, 2]
    assert all((HERE / f"format-{number}.tar.xz").stat().st_size < 600_000 for number in FORMATS)


def test_the_newest_one_has_a_row_of_every_kind():
    expected = json.loads((HERE / "format-2.json").read_text())[MORE]
    assert {name.partition(" ")[2] for name in expected["configurations"]} == everything.KINDS.keys()
    assert all(expected["rows"].values())
    assert expected["tiers"] == {"hot": "hot", "warm": "warm", "cold": "cold", "class": "cold"}


async def test_a_golden_store_shows_what_was_put_into_it(golden):
    async with golden.open() as engine:
        await golden.check(engine)


@pytest.mark.parametrize("away", [(), (0, 1), (2, 5)])
async def test_a_golden_store_is_rebuilt_from_its_disks_alone(golden, away):
    shutil.rmtree(golden.folder / "data")
    for slot in away:
        shutil.rmtree(golden.folder / "disks" / str(slot))
    async with golden.open() as engine:
        assert engine.meta.recovery.kind == "rebuilt"
        await golden.check(engine)


async def test_a_golden_store_can_be_written_on(golden):
    for _ in range(2):
        async with golden.open() as engine:
            for size in (10, 100_000, 2_000_000):
                await engine.objects.put("golden", b"sizes/%d" % size, Body(bytes_of(size)), PutSpec())
    async with golden.open() as engine:
        for size in (10, 100_000, 2_000_000):
            assert await read_all(await engine.objects.open("golden", b"sizes/%d" % size)) == bytes_of(size)
        found = await describe(engine)
        assert golden.expected["objects"].items() <= json.loads(json.dumps(found["objects"])).items()
        for number, volume in volumes_of(engine).items():
            assert await engine.volumes.verify(number, volume) == {}
