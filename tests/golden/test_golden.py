"""Stores made by earlier versions open, and every byte, name and attribute in them is as it was."""

import json
import shutil
import tarfile

import pytest

from stratum.core.config import Limits
from stratum.core.objects import PutSpec
from stratum.engine.engine import open_engine
from tests.engine.conftest import ROOT, Clock, read_all
from tests.engine.examination import volumes_of
from tests.engine.operations import Body, bytes_of
from tests.golden.make import HERE, describe, settings_for

FORMATS = sorted(int(path.stem.removeprefix("format-")) for path in HERE.glob("format-*.json"))


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    """(folder of a golden store, what must be in it)."""
    with tarfile.open(HERE / f"format-{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path, json.loads((HERE / f"format-{request.param}.json").read_text())


def opened(folder):
    """With today's limits, whatever they were then."""
    limits = Limits(map_bytes=1 << 26, repair_interval=1e6, reap_interval=1e6, disk_check_interval=1e6)
    return open_engine(settings_for(folder, limits), root=ROOT, now_ns=Clock())


def test_there_is_a_golden_store():
    assert FORMATS
    assert all((HERE / f"format-{number}.tar.xz").stat().st_size < 300_000 for number in FORMATS)


async def test_a_golden_store_shows_what_was_put_into_it(golden):
    folder, expected = golden
    async with opened(folder) as engine:
        assert json.loads(json.dumps(await describe(engine))) == expected


@pytest.mark.parametrize("away", [(), (0, 1), (2, 5)])
async def test_a_golden_store_is_rebuilt_from_its_disks_alone(golden, away):
    folder, expected = golden
    shutil.rmtree(folder / "data")
    for slot in away:
        shutil.rmtree(folder / "disks" / str(slot))
    async with opened(folder) as engine:
        assert engine.meta.recovery.kind == "rebuilt"
        assert json.loads(json.dumps(await describe(engine))) == expected


async def test_a_golden_store_can_be_written_on(golden):
    folder, expected = golden
    for _ in range(2):
        async with opened(folder) as engine:
            for size in (10, 100_000, 2_000_000):
                await engine.objects.put("golden", b"sizes/%d" % size, Body(bytes_of(size)), PutSpec())
    async with opened(folder) as engine:
        for size in (10, 100_000, 2_000_000):
            assert await read_all(await engine.objects.open("golden", b"sizes/%d" % size)) == bytes_of(size)
        found = await describe(engine)
        assert expected["objects"].items() <= json.loads(json.dumps(found["objects"])).items()
        for number, volume in volumes_of(engine).items():
            assert await engine.volumes.verify(number, volume) == {}
