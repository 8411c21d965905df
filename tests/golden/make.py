"""Make the golden store of the current format: `python -m tests.golden.make`.

Writes format-<n>.tar.xz (the disks and the index of a store that was stopped, started and killed) and format-<n>.json
(what is in it). Once a version is released its golden store is never made again: it must stay readable for ever.
Format 1 is that of 0.1 (`fill` and `describe` here), 2 that of 0.2 (it has all that 1 has, and everything.py), 3
that of 0.3 (all that 2 has, and newer.py; of this one every row of the index is described).

Room: tests. May import: stratum, tests.engine.
"""

import base64
import hashlib
import json
import lzma
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import trio

from stratum.core.config import Limits, Settings
from stratum.core.errors import DiskFailed
from stratum.core.objects import CopySpec, ListQuery, PartName, PutSpec, UploadSpec
from stratum.core.records import Checksum
from stratum.core.schema import ROOT_INODE, xattr_key
from stratum.core.txn import scan_records
from stratum.engine.engine import Engine
from stratum.engine.file_names import Caller
from tests.engine.conftest import Clock, read_all
from tests.engine.crash import Killed, kill
from tests.engine.operations import Body
from tests.fakes.backend import FakeBackend
from tests.golden import everything, newer
from tests.golden.everything import bytes_of
from tests.golden.rows import by_table

FORMAT = 3
HERE = Path(__file__).parent
SMALL = Limits(cell_bytes=4096, volume_bytes=48 * 1024, pack_bytes=12_000, part_bytes_min=1, map_bytes=1 << 24)
# What works by the clock of the machine waits to be asked.
QUIET = replace(
    SMALL, reap_interval=1e6, repair_interval=1e6, disk_check_interval=1e6, compact_interval=1e6, packing_interval=1e6,
    balance_interval=1e6,
)  # fmt: skip
WHO = Caller(1000, 100)
PLACE = "/golden"  # where the store was, says its store.json in the archive


def settings_for(folder: Path, limits: Limits) -> Settings:
    """A store in `folder`."""
    disks = tuple(folder / "disks" / str(slot) for slot in range(6))
    return Settings(data=folder / "data", disks=disks, limits=limits)


def crc(digests, size):
    """Keep the CRC32 of a body."""
    return Checksum("crc32", base64.b64encode(digests["crc32"]).decode())


async def fill(engine: Engine) -> None:
    """One of everything."""
    await engine.buckets.create("golden", "alice")
    await engine.buckets.create("empty", "bob")
    for size in (0, 100, 4096, 4097, 12_000, 60_000):
        spec = PutSpec(
            headers={"content-type": "application/x-test", "cache-control": "no-cache"},
            metadata={"size": str(size), "ключ": "значение"},
            algorithms=frozenset({"crc32"}),
            check=crc,
        )
        await engine.objects.put("golden", b"sizes/%d" % size, Body(bytes_of(size, "golden")), spec)
    for key in (b"a", b"a/b", b"a//b", b"a/../b", "schön/ключ".encode(), b"k" * 1024, b"folder/"):
        await engine.objects.put("golden", key, Body(key), PutSpec())
    await engine.objects.copy("golden", b"sizes/12000", "golden", b"copy", CopySpec(metadata={"a": "copy"}))
    await engine.objects.put("golden", b"deleted", Body(bytes_of(5000)), PutSpec())
    await engine.objects.delete("golden", b"deleted")
    await _multipart(engine)
    await _mounted(engine)
    await engine.credentials.create("carol")


async def _multipart(engine: Engine) -> None:
    spec = UploadSpec(metadata={"multi": "part"}, checksum_algorithm="crc32", checksum_type="FULL_OBJECT")
    for key in (b"multipart", b"under way"):
        upload = await engine.uploads.create("golden", key, spec)
        names = []
        for number, size in ((1, 9000), (7, 100), (9, 4097)):
            body = Body(bytes_of(size, "part"))
            part = await engine.uploads.part(
                "golden", key, upload, number, body, algorithms=frozenset({"crc32"}), check=crc
            )
            names.append(PartName(number=number, etag=part.etag))
        if key == b"multipart":
            await engine.uploads.complete("golden", key, upload, names)


async def _mounted(engine: Engine) -> None:
    names = engine.files.names
    root = names.lookup(ROOT_INODE, b"golden")[0]
    directory, _ = await names.make_directory(root, b"made", 0o750, WHO)
    await names.make_directory(root, b"kept", 0o700, WHO)
    handle, number, _ = await engine.files.create(directory, b"file", 0o640, WHO, exclusive=True, truncate=False)
    await engine.files.write(handle, 0, bytes_of(5000, "mount"))
    await engine.files.write(handle, 20_000, b"behind a hole")
    await engine.files.fsync(handle)
    await engine.files.release(handle)
    await engine.files.xattrs.set(number, b"user.colour", b"golden")
    await names.link(number, directory, b"second name")
    await names.symlink(directory, b"link", b"../sizes/100", WHO)
    await names.make_node(directory, b"fifo", 0o010644, 0, WHO)
    await engine.files.fsync_directory()


async def describe(engine: Engine) -> dict:
    """All that is in the store, as plain values."""
    return {
        "store": engine.store_id.hex(),
        "buckets": {name: [bucket.created, bucket.owner] for name, bucket in await engine.buckets.list()},
        "objects": {view.key.decode(): await _object(engine, view.key) for view in await _keys(engine)},
        "uploads": await _uploads(engine),
        "tree": _tree(engine, ROOT_INODE, "/"),
        "credentials": [[name, created, engine.credentials.secret_of(key)] for key, name, created in keys(engine)],
    }


def keys(engine: Engine) -> list[tuple[str, str, int]]:
    """The access keys."""
    return sorted((row.access_key, row.name, row.created) for row in engine.credentials.list())


async def _keys(engine: Engine) -> list:
    return list((await engine.objects.list("golden", ListQuery())).objects)


async def _object(engine: Engine, key: bytes) -> dict:
    opened = await engine.objects.open("golden", key)
    inode = opened.view.inode
    checksum = inode.checksum
    return {
        "sha256": hashlib.sha256(await read_all(opened)).hexdigest(),
        "size": inode.size,
        "etag": inode.etag,
        "mtime": inode.mtime,
        "headers": inode.headers,
        "metadata": inode.metadata,
        "checksum": [checksum.algorithm, checksum.value, checksum.kind] if checksum else None,
        "parts": list(inode.parts),
    }


async def _uploads(engine: Engine) -> list:
    page = await engine.uploads.list_uploads("golden", b"", b"", b"", "", 10)
    shown = []
    for key, upload, record in page.uploads:
        _, parts, _ = await engine.uploads.list_parts("golden", key, upload, 0, 100)
        etags = [[number, part.size, part.etag, part.checksum.value] for number, part in parts]
        shown.append([key.decode(), upload, record.created, record.metadata, record.checksum_algorithm, etags])
    return shown


def _tree(engine: Engine, directory: int, path: str) -> dict:
    shown = {}
    for entry in engine.files.names.list(directory, None, 1000):
        inode = entry.inode
        name = path + entry.name.decode(errors="backslashreplace")
        xattrs = _attributes(engine, entry.number)
        shown[name] = [
            entry.number, oct(inode.mode), inode.uid, inode.gid, inode.nlink, inode.size, inode.mtime,
            inode.target.decode(), xattrs,
        ]  # fmt: skip
        if inode.kind.name == "DIRECTORY":
            shown |= _tree(engine, entry.number, name + "/")
    return shown


def _attributes(engine: Engine, number: int) -> dict[str, str]:
    """The attributes that are stored as such, whatever a door makes of them."""
    rows = engine.meta.read(lambda txn: list(scan_records(txn, xattr_key(number, b""), bytes)))
    return {name.decode(): value.decode(errors="backslashreplace") for name, value in rows}


async def make(folder: Path) -> dict:
    """Make the store in `folder`; it ends with a kill, so that the journal holds what no snapshot has."""
    clock, described, cold = Clock(), {}, FakeBackend()
    limits = replace(QUIET, journal_segment_bytes=20_000, reap_delay=0.0, seal_delay=0.0)
    async with everything.opened(folder, replace(limits, repair_interval=0.1), clock, cold) as engine:
        await fill(engine)
        await everything.fill(engine)
        session = await newer.fill(engine, clock)
    try:
        async with everything.opened(folder, limits, clock, cold) as engine:
            await engine.objects.put("golden", b"last", Body(bytes_of(6000, "last")), PutSpec(metadata={"no": "stop"}))
            await newer.unfinished(engine)
            described = await describe(engine) | {"more": await everything.describe(engine)}
            described["newer"] = await newer.describe(engine, session)
            described |= {"now": clock.ns, "session": session}
            everything.keep_cold(cold, folder / everything.COLD)
            described["rows"] = by_table(await newer.passing_rows(engine))
            await kill(engine)
    except* (Killed, DiskFailed):  # services that look at the index as they end find it gone
        pass
    return described


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = trio.run(make, folder)
        rows = described.pop("rows")
        text = json.dumps(described, indent=1, ensure_ascii=False)
        tables = [f"{json.dumps(table)}: {{\n{_lines(some)}\n}}" for table, some in sorted(rows.items())]
        text = text.removesuffix("\n}") + ',\n "rows": {\n' + ",\n".join(tables) + "\n}\n}\n"
        (HERE / f"format-{FORMAT}.json").write_text(text)
        stored = folder / "data" / "store.json"
        stored.write_text(stored.read_text().replace(name, PLACE))
        for lock in folder.rglob("lock.mdb"):
            lock.unlink()
        with tarfile.open(HERE / f"format-{FORMAT}.tar.xz", "w:xz", preset=9 | lzma.PRESET_EXTREME) as archive:
            for each in ("data", "disks", "warm", everything.COLD):
                archive.add(folder / each, each)


def _lines(rows: dict) -> str:
    """A row a line, so that a change of one is seen."""
    return ",\n".join(f" {json.dumps(key)}: {json.dumps(said, ensure_ascii=False)}" for key, said in rows.items())


if __name__ == "__main__":
    main()
