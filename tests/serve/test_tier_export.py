"""What a store knows of reads can be fed to `stratum replay`."""

import csv
import json
from datetime import date, timedelta

from click.testing import CliRunner

from stratum.core.tiers import stream_bytes
from stratum.serve.cli import main
from stratum.serve.tier_export import write_trace
from tests.engine.deciding import DAY, NOON, deciding_engine
from tests.serve.test_replay import BOOK_TOML

TODAY = NOON // DAY


async def exported(store, out, days=32):
    pages, after = [], -1
    while after is not None:
        pages.append(json.loads(json.dumps(await store.engine.tiering.export(after, days))))
        after = pages[-1]["next"]
    counts = write_trace(iter(pages), out)
    rows = {
        name: list(csv.DictReader((out / f"{name}.csv").read_text("utf-8").splitlines()))
        for name in ("inventory", "events")
    }
    return counts, rows["inventory"], rows["events"]


async def test_what_was_read_comes_out_as_a_trace_that_replay_takes(tmp_path):
    async with deciding_engine(tmp_path / "store", mode="observe") as store:
        for name in ('films/"a", b', "films/b"):
            await store.put(name)
        (volume,) = await store.volumes("films/b")
        size = stream_bytes(store.engine.tiering.record_of(volume))
        for day in range(12):
            if day in (1, 9):
                await store.read("films/b", times=3)
            if day == 10:
                await store.read("films/b", sweep=True)
            await store.days()
        await store.read("films/b")  # a day that is not over is none of it
        counts, inventory, events = await exported(store, tmp_path / "out")
    names = {row["object"].partition("#")[0]: row["object"] for row in inventory}
    assert set(names) == {'bucket/films/"a", b', "bucket/films/b"} and counts == (2, 7, 3)
    assert [row["time"] for row in events] == sorted(row["time"] for row in events)
    read = [row for row in events if row["op"] == "GET"]
    assert {row["object"] for row in events} == {names["bucket/films/b"]}
    assert [int(row["bytes"]) for row in read[-3:]] == [size] * 3, "of the last eight days everything is exact"
    assert len(read) == 6 and abs(sum(int(row["bytes"]) for row in read) - 6 * size) < 6
    assert [row["op"] for row in events].count("SWEEP") == 1
    book = tmp_path / "book.toml"
    book.write_text(BOOK_TOML)
    files = [f"--{name}={tmp_path}/out/{name}.csv" for name in ("inventory", "events")]
    told = CliRunner().invoke(main, ["replay", *files, "--prices", str(book), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["trace"]["events"] == 6
    assert json.loads(told.stdout)["trace"]["events_of_unknown_objects"] == 0


async def test_only_the_days_that_were_asked_for_and_every_block_of_volumes_come_out(tmp_path):
    async with deciding_engine(tmp_path / "store", mode="observe") as store:
        for number in range(90):
            await store.put(f"many/{number}", size=1_100_000, seed=number)
        for _ in range(4):
            await store.read("many/7")
            await store.days()
        counts, inventory, events = await exported(store, tmp_path / "out", days=2)
    assert counts[0] == len(inventory) == len({row["object"] for row in inventory}) >= 80
    assert len(events) == 2 and {row["created"] for row in inventory} == {
        f"{date(1970, 1, 1) + timedelta(days=TODAY + 2)}T00:00:00Z"
    }
