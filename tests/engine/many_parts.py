"""Uploads of many tiny parts, and a count of how much of the index each turn of the event loop looks at.

Room: tests. May import: stratum, tests.engine.
"""

from contextlib import contextmanager

import trio

from stratum.core.manifest import attach, part_user, write_spans
from stratum.core.objects import PartName, UploadSpec
from stratum.core.records import Part, Run
from stratum.core.schema import part_key, take_number
from stratum.core.txn import save
from stratum.engine.buckets import find_bucket
from stratum.store.overlay import MergedTxn


def bytes_of(number: int) -> bytes:
    return b"part %05d, " % number


async def begun(engine, key: bytes, count: int, spec: UploadSpec | None = None) -> tuple[str, list[PartName]]:
    """An upload with so many parts, put straight into the index."""
    upload = await engine.uploads.create("bucket", key, spec or UploadSpec())
    names = [PartName(number=number, etag=f"{number:032x}") for number in range(1, count + 1)]

    def change(txn):
        root = find_bucket(txn, "bucket").root
        for name in names:
            content, body = take_number(txn, "content"), bytes_of(name.number)
            write_spans(txn, content, [(0, Run(None, body))])
            attach(txn, content, part_user(upload, name.number))
            part = Part(content=content, size=len(body), etag=name.etag, modified=1, bucket=root)
            save(txn, part_key(upload, name.number), part)

    await engine.meta.write(change)
    return upload, names


class Turns(trio.abc.Instrument):
    """How many rows the busiest turn of the event loop looked at or changed."""

    def __init__(self) -> None:
        self.rows = self.most = 0
        self.where = ""

    def before_task_step(self, task) -> None:
        self.rows = 0

    def after_task_step(self, task) -> None:
        if self.rows > self.most:
            self.most, self.where = self.rows, task.name

    def taken(self) -> int:
        """The most since the last call."""
        most, self.most, self.rows = max(self.most, self.rows), 0, 0
        return most


@contextmanager
def counted_turns(monkeypatch):
    turns = Turns()
    get, change, scan = MergedTxn.get, MergedTxn._change, MergedTxn.scan

    def counting_get(self, key):
        turns.rows += 1
        return get(self, key)

    def counting_change(self, key, value):
        turns.rows += 1
        change(self, key, value)

    def counting_scan(self, start, stop):
        for row in scan(self, start, stop):
            turns.rows += 1
            yield row

    monkeypatch.setattr(MergedTxn, "get", counting_get)
    monkeypatch.setattr(MergedTxn, "_change", counting_change)
    monkeypatch.setattr(MergedTxn, "scan", counting_scan)
    trio.lowlevel.add_instrument(turns)
    try:
        yield turns
    finally:
        trio.lowlevel.remove_instrument(turns)
