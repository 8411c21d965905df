"""A bucket's tree in memory, and ways to look at it, for the tests of names.

Room: tests. May import: stratum.core, tests.fakes.
"""

from stratum.core.namespace import DirectoryMaker, put_entry, remove_entry, scan_keys
from stratum.core.records import Entry, Inode, Kind, decode
from stratum.core.schema import ENTRY, INODE, ROOT_INODE, id_of, inode_key
from stratum.core.txn import save, successor
from tests.fakes.txn import MemoryTxn

BUCKET_ROOT = 2
MAKER = DirectoryMaker(uid=1, gid=2, mode=0o040755, now=10)


class CountingTxn(MemoryTxn):
    """A transaction that counts the rows it was asked for."""

    read = 0

    def get(self, key):
        self.read += 1
        return super().get(key)

    def scan(self, start, stop):
        for row in super().scan(start, stop):
            self.read += 1
            yield row


def directory(number: int, parent: int, name: bytes) -> Inode:
    return Inode(Kind.DIRECTORY, MAKER.mode, 1, 2, 2, 0, 5, 5, 5, 5, parent=parent, name=name, explicit=True)


def new_bucket(txn: MemoryTxn | None = None) -> MemoryTxn:
    """A root, and in it one empty bucket."""
    txn = MemoryTxn() if txn is None else txn
    for number, parent, name in ((ROOT_INODE, ROOT_INODE, b""), (BUCKET_ROOT, ROOT_INODE, b"bucket/")):
        save(txn, inode_key(number), directory(number, parent, name))
    return txn


def put(txn, key: bytes, inode: int, kind: Kind = Kind.OBJECT):
    return put_entry(txn, BUCKET_ROOT, key, inode, kind, MAKER)


def remove(txn, key: bytes):
    return remove_entry(txn, BUCKET_ROOT, key, 20)


def listed(txn, **wanted) -> list[tuple[bytes, int]]:
    return [(key, entry.inode) for key, entry in scan_keys(txn, BUCKET_ROOT, **wanted)]


def directories(txn) -> dict[int, Inode]:
    """Every directory record."""
    rows = txn.scan(INODE, successor(INODE))
    found = {id_of(key): decode(key, raw, Inode) for key, raw in rows}
    return {number: inode for number, inode in found.items() if inode.kind is Kind.DIRECTORY}


def all_entries(txn) -> dict[tuple[int, bytes], Entry]:
    """Every directory entry by (parent, stored name)."""
    rows = txn.scan(ENTRY, successor(ENTRY))
    return {(id_of(key), key[9:]): decode(key, raw, Entry) for key, raw in rows}


def check_tree(txn) -> None:
    """What must hold between entries and directory records, whatever happened (D1 to D3)."""
    found, records = all_entries(txn), directories(txn)
    led_to = {entry.inode: place for place, entry in found.items() if entry.kind is Kind.DIRECTORY}
    assert set(records) == {ROOT_INODE, BUCKET_ROOT} | set(led_to)
    for (parent, name), entry in found.items():
        assert parent in records
        assert name.endswith(b"/") == (entry.kind is Kind.DIRECTORY) and b"/" not in name[:-1]
    cookies = [entry.cookie for entry in found.values()]
    assert len(set(cookies)) == len(cookies)
    for number, inode in records.items():
        held = [entry for (parent, _), entry in found.items() if parent == number]
        assert inode.nlink == 2 + sum(entry.kind is Kind.DIRECTORY for entry in held)
        assert held or inode.explicit
        if number in led_to:
            assert (inode.parent, inode.name) == led_to[number]
