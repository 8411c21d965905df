"""Stores made by earlier versions open, and every byte, name and attribute in them is as it was."""

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import trio

from stratum.core.config import Limits
from stratum.core.errors import StratumError
from stratum.core.objects import PutSpec
from stratum.engine.engine import open_engine
from stratum.engine.opening import open_store
from stratum.store.store_file import StoreFile
from tests.engine.conftest import ROOT, Clock, read_all
from tests.engine.examination import volumes_of
from tests.engine.operations import Body, bytes_of
from tests.golden import everything, newer
from tests.golden.make import HERE, PLACE, describe, settings_for
from tests.golden.rows import all_rows, by_table, tables, written_again

FORMATS = sorted(int(path.stem.removeprefix("format-")) for path in HERE.glob("format-*.json"))
MORE = "more"  # what everything.py describes: of formats since 2
NEWER = "newer"  # what newer.py describes: of formats since 3
NEWEST = FORMATS[-1]
ABSENT = {"F": "only while parts are freed", "K": "as F"}  # without a row in the newest golden store: letter -> why
PASSING = {"N", "o", "j", "l", "s"}  # tables of what is under way: with time, they are empty
REMEDY = f"""
The golden store tests/golden/format-{NEWEST}.* does not fit this version any more. If that is meant:
- while the version that wrote it (0.{NEWEST}) is not released, make it anew: `python -m tests.golden.make` (half a
  minute); commit both files together with the change, and say in docs/format.md what rests where;
- once it is released, it stays as it is: whatever it holds must be read for ever (core/records.py, R2). Then make a
  golden store of the next format beside it (FORMAT in tests/golden/make.py).
"""


@dataclass(frozen=True)
class Golden:
    """A golden store, unpacked."""

    folder: Path
    expected: dict

    def open(self, **more):
        """With today's limits, whatever they were then."""
        limits = Limits(map_bytes=1 << 26, repair_interval=1e6, reap_interval=1e6, disk_check_interval=1e6, **more)
        if MORE in self.expected:
            return everything.opened(self.folder, limits, self.clock())
        return open_engine(settings_for(self.folder, limits), root=ROOT, now_ns=Clock())

    def clock(self) -> Clock:
        """It goes on where it stood."""
        clock = Clock()
        clock.ns = self.expected.get("now", clock.ns)
        return clock

    def rows(self) -> dict[bytes, bytes]:
        """Every row, before any service has touched it."""
        limits = Limits(map_bytes=1 << 26)
        store = open_store(everything.settings_for(self.folder, limits), self.clock())
        try:
            return store.meta.read(all_rows)
        finally:
            store.meta.abandon()

    async def check(self, engine) -> None:
        """Everything is there, and nothing else."""
        found = as_json(await describe(engine))
        assert found == {key: self.expected[key] for key in found}
        if MORE in self.expected:
            found, expected = as_json(await everything.describe(engine)), self.expected[MORE]
            assert everything.agrees(found, expected)
            assert found["configurations"].keys() == expected["configurations"].keys()
            for table, rows in expected["rows"].items():
                assert found["rows"][table].keys() == rows.keys()
        if NEWER in self.expected:
            expected = self.expected[NEWER]
            found = as_json(await newer.describe(engine, self.expected["session"]))
            if engine.meta.recovery.kind == "rebuilt":  # a disk that was away is another one now
                found, expected = ({**each, "disks": None} for each in (found, expected))
            assert everything.agrees(found, expected)


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path):
    return unpacked(request.param, tmp_path)


@pytest.fixture
def newest(tmp_path):
    return unpacked(NEWEST, tmp_path)


def unpacked(number: int, folder: Path) -> Golden:
    with tarfile.open(HERE / f"format-{number}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    stored = folder / "data" / "store.json"
    stored.write_text(stored.read_text().replace(f'"{PLACE}/', f'"{folder}/'))
    return Golden(folder, json.loads((HERE / f"format-{number}.json").read_text()))


def test_there_is_a_golden_store_of_every_format():
    assert FORMATS == [1, 2, 3]
    assert all((HERE / f"format-{number}.tar.xz").stat().st_size < 600_000 for number in FORMATS)


def test_every_table_of_the_schema_has_a_row_in_the_newest_one():
    there = json.loads((HERE / f"format-{NEWEST}.json").read_text())["rows"].keys()
    missing = {letter: name for letter, name in tables().items() if letter not in there | ABSENT.keys()}
    assert not missing, f"no row of {missing}: put one into tests/golden/newer.py.\n{REMEDY}"
    assert there <= tables().keys(), f"what are {there - tables().keys()}? Tables stay in core/schema.py for ever."
    assert not there & ABSENT.keys(), "what is there is not absent"


def test_the_newest_one_has_one_of_every_kind(newest):
    expected, rows = newest.expected[MORE], newest.expected["rows"]
    assert {name.partition(" ")[2] for name in expected["configurations"]} == everything.KINDS.keys(), REMEDY
    assert expected["tiers"] == {"hot": "hot", "warm": "warm", "cold": "cold", "class": "cold"}
    inodes = list(rows["i"].values())
    assert {inode["sealed"]["format"] for inode in inodes if inode["sealed"]} == {1, 2}
    assert {inode["replication"] for inode in inodes} == {"", "PENDING", "COMPLETED"}
    assert {inode["storage_class"] for inode in inodes} == {"", "GLACIER_IR", "INTELLIGENT_TIERING"}
    assert any(inode["holes"] for inode in inodes)
    assert {row["marker"] for row in rows["O"].values()} == {False, True}
    assert {bytes.fromhex(key)[1:2] for key in rows["Q"]} == {b"b", b"o", b"c"}
    assert {bytes.fromhex(key)[1:].partition(b"/")[0] for key in rows["Y"]} == {b"state", b"prices", b"policy"}
    assert any(turn["situation"] for history in rows["D"].values() for turn in history["turns"])
    stored = json.loads((newest.folder / "data" / "store.json").read_text())
    assert len(stored["removed"]) == 1
    assert any("added" in str(disk) for disk in stored["disks"].values())


@pytest.mark.parametrize("data", ["kept", "lost"])
def test_every_row_of_the_newest_one_reads_as_it_was(newest, data):
    if data == "lost":
        shutil.rmtree(newest.folder / "data")
    rows, wrong = newest.rows(), []
    for key, raw in rows.items():
        try:
            by_table({key: raw})
        except (StratumError, ValueError, KeyError) as error:
            wrong.append(f"{key[:40]!r}: {error!r}")
    assert not wrong, f"cannot be read: {wrong}\n{REMEDY}"
    found, expected = as_json(by_table(rows)), newest.expected["rows"]
    assert found.keys() == expected.keys()
    for table, some in expected.items():
        assert found[table].keys() == some.keys(), tables()[table]
        wrong += [(table, key) for key, said in some.items() if not everything.agrees(found[table][key], said)]
    assert not wrong, f"reads otherwise than it was written: {wrong}\n{REMEDY}"


def test_this_version_writes_every_row_as_the_newest_one_has_it(newest):
    other = [
        (tables()[key[:1].decode()], key[:40]) for key, raw in newest.rows().items() if written_again(key, raw) != raw
    ]
    assert not other, f"written otherwise now: {other}\n{REMEDY}"


def test_this_version_writes_store_json_as_the_newest_one_has_it(newest):
    stored = (newest.folder / "data" / "store.json").read_bytes()
    read = msgspec.json.decode(stored, type=StoreFile)
    assert msgspec.json.format(msgspec.json.encode(read), indent=2) == stored, REMEDY


async def test_what_a_kill_left_in_the_newest_one_is_dealt_with(newest):
    async with newest.open(reap_delay=0.0) as engine:
        with trio.fail_after(60):
            while left := by_table(engine.meta.read(all_rows)).keys() & PASSING:
                await engine.reaper.one_pass()
                await trio.lowlevel.checkpoint()
        assert not left
        assert await read_all(await engine.objects.open("unpublished", b"file")) == b""
    assert as_json(by_table(newest.rows()))["L"] == newest.expected["rows"]["L"], "the disk waits to be removed"


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
