"""What writes while the mount is killed, each kind in a process of its own; acknowledgements go outside the mount.

    python contrib/campaigns/kills_load.py KIND FOLDER LOG SEED

A line of the log, `KIND VALUE NANOSECONDS`, is written only after the call that made VALUE durable (or for `close`:
closed) has returned. Content names itself: what it must be follows from its name, so that no byte of another file, of
an earlier version or of nothing can pass for it. Whatever ends the mount ends these, and that is no error.
"""

import ctypes
import hashlib
import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

RECORD = 4096
SIZES = (100, 3_000, 40_000, 1_300_000, 5_000, 300_000)  # inline, packed, in volumes of their own
FOLDER_FILES = 4
RENAME_EXCHANGE = 2
KEPT = 3  # snapshots of restic


def record(name: str, number: int) -> bytes:
    """The 4 KiB that stand at `number` of an appended file."""
    return content(f"{name} record {number:012}", RECORD)


def content(name: str, size: int) -> bytes:
    """Bytes that say what they are, and are nobody else's."""
    head = f"{name} of {size}\n".encode()
    return (head + hashlib.shake_128(head).digest(max(0, size - len(head))))[:size]


def size_of(number: int) -> int:
    return SIZES[number % len(SIZES)]


class Log:
    """The acknowledgements, in a file outside the mount."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def told(self, value: object) -> None:
        os.write(self.fd, f"{self.kind} {value} {time.monotonic_ns()}\n".encode())


def write(path: Path, body: bytes, *, sync: bool) -> None:
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(body), 128 * 1024):
            file.write(body[at : at + 128 * 1024])
        if sync:
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def append(folder: Path, log: Log, seed: int) -> None:
    """Append 4 KiB, fsync, acknowledge."""
    path = folder / f"append-{seed}"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.ftruncate(fd, os.fstat(fd).st_size // RECORD * RECORD)
    for number in itertools.count(os.fstat(fd).st_size // RECORD):
        os.write(fd, record(path.name, number))
        (os.fsync if number % 2 else os.fdatasync)(fd)
        log.told(number)


def replace(folder: Path, log: Log, seed: int) -> None:
    """A new version under another name, fsync, rename over the old one, fsync of the folder."""
    for number in itertools.count(seed):
        write(folder / "temporary", content(f"version {number}", size_of(number)), sync=True)
        os.rename(folder / "temporary", folder / "current")
        sync_folder(folder)
        log.told(number)


def folders(folder: Path, log: Log, seed: int) -> None:
    """A folder is filled, then renamed to its final name."""
    for number in itertools.count(seed):
        made = folder / f"making-{number}"
        made.mkdir()
        for which in range(FOLDER_FILES):
            name = f"folder-{number} file {which}"
            write(made / str(which), content(name, size_of(number + which)), sync=True)
        sync_folder(made)
        os.rename(made, folder / f"folder-{number}")
        sync_folder(folder)
        log.told(number)


def exchange(folder: Path, log: Log, seed: int) -> None:
    """Two files change places, again and again."""
    libc = ctypes.CDLL(None, use_errno=True)
    left, right = (str(folder / name).encode() for name in ("left", "right"))
    for number in itertools.count(seed):
        if libc.renameat2(-100, left, -100, right, RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), "renameat2")
        sync_folder(folder)
        log.told(number)


def close(folder: Path, log: Log, seed: int) -> None:
    """Files that are only closed."""
    for number in itertools.count(seed):
        path = folder / f"closed-{number}"
        write(path, content(path.name, size_of(number)), sync=False)
        log.told(number)


def sqlite(folder: Path, log: Log, seed: int) -> None:
    """Numbered rows, and sums that every transaction keeps; with a write-ahead log or a deleted journal."""
    db = sqlite3.connect(folder / "bank.db", isolation_level=None, timeout=20)
    db.execute(f"pragma journal_mode={'wal' if seed % 2 else 'delete'}")
    db.execute(f"pragma synchronous={'full' if seed % 2 else 'extra'}")  # extra: also the folder of a deleted journal
    dice = random.Random(seed)
    for number in itertools.count(db.execute("select coalesce(max(id), 0) + 1 from told").fetchone()[0]):
        db.execute("begin immediate")
        one, other = dice.sample(range(50), 2)
        db.execute("update account set amount = amount - 1 where id = ?", (one,))
        db.execute("insert into told values (?, ?)", (number, "x" * dice.randrange(3000)))
        db.execute("update account set amount = amount + 1 where id = ?", (other,))
        db.execute("commit")
        os.statvfs(folder)  # is the mount there? SQLite takes a folder it cannot open for one without fsync
        log.told(number)


def restic(folder: Path, log: Log, seed: int) -> None:
    """Backups of a changing tree outside the mount, and now and then forget --prune."""
    dice, source = random.Random(seed), log_folder(log) / "source"
    source.mkdir(exist_ok=True)
    kept: list[str] = []
    for turn in itertools.count():
        for _ in range(3):
            (source / f"file-{dice.randrange(12)}").write_bytes(dice.randbytes(dice.randrange(1, 400_000)))
        done = run_restic(folder, "backup", "--json", str(source))
        if done.returncode:
            raise OSError(f"restic ended with {done.returncode}")
        kept.append(json.loads(done.stdout.splitlines()[-1])["snapshot_id"][:8])
        log.told(kept[-1])
        if turn % 3 == 2:
            log.told("forget:" + ",".join(kept[-KEPT:]))  # from now on only these must be there
            if run_restic(folder, "forget", "--keep-last", str(KEPT), "--prune").returncode:
                raise OSError("restic forget")


def run_restic(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run restic on the repository in `folder`."""
    command = ["restic", "-q", "--no-cache", "-r", str(folder / "repository"), *words]
    environment = os.environ | {"RESTIC_PASSWORD": "not a secret"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def log_folder(log: Log) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{log.fd}")).parent


KINDS = {one.__name__: one for one in (append, replace, folders, exchange, close, sqlite, restic)}


def main() -> int:
    kind, folder, log, seed = sys.argv[1:]
    with suppress(OSError, sqlite3.Error):  # the mount is gone, as meant
        KINDS[kind](Path(folder), Log(kind, Path(log)), int(seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
