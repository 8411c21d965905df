"""Listing a directory to the kernel, piece by piece.

Room: stratumfs. May import: core.records, engine.files.

Invariants
    L1  The place after an entry is its cookie, which no other entry ever has: so a listing goes on at the right place
        whatever was made or removed meanwhile, the last listed entry included.
    L2  Each listing is read afresh: attributes that are handed to the kernel are never older than the request.
"""

from collections import OrderedDict
from collections.abc import Callable

from stratum.core.records import Inode
from stratum.engine.files import Files

AFTER_DOT, AFTER_DOTS = 1, 2  # cookies begin above (schema.take_number)
REMEMBERED = 65_536  # places of this listing whose names are at hand, should they be gone when it goes on there
FEW, MANY = 24, 1024  # entries read at once

Reply = Callable[[bytes, int, Inode, int], bool]
"""Offer (name, inode, its record, place after it) to the kernel; False: it has no more room."""


class OpenDirectory:
    """One descriptor of a directory."""

    def __init__(self, files: Files, number: int) -> None:
        self._files = files
        self._number = number
        self._places: OrderedDict[int, bytes] = OrderedDict()
        self._taken = FEW

    def read(self, start: int, reply: Reply, *, told: bool = True) -> None:
        """List from the place `start` on (0: the beginning) while `reply` takes it.

        `told`: the kernel knows every listed inode from then on. Raises NoSuchInode.
        """
        if start < AFTER_DOTS and not self._read_dots(start, reply):
            return
        after = self._name_at(start) if start > AFTER_DOTS else None
        taken = 0
        while True:
            limit = min(self._taken + 2, MANY)
            listed = self._files.names.list(self._number, after, limit)
            for entry in listed:
                if not reply(entry.name, entry.number, entry.inode, entry.cookie):
                    self._taken = max(taken, 1)
                    return
                if told:
                    self._files.pin(entry.number)
                self._remember(entry.cookie, entry.stored)
                after = entry.stored
                taken += 1
            if len(listed) < limit:
                return

    def _read_dots(self, start: int, reply: Reply) -> bool:
        """List `.` and `..`, which count as no lookup."""
        for place, name in ((AFTER_DOT, b"."), (AFTER_DOTS, b"..")):
            if start < place:
                node = self._files.names.lookup(self._number, name)
                if node is not None and not reply(name, *node, place):
                    return False
        return True

    def _remember(self, cookie: int, stored: bytes) -> None:
        self._places[cookie] = stored
        if len(self._places) > REMEMBERED:
            self._places.popitem(last=False)

    def _name_at(self, cookie: int) -> bytes | None:
        """The stored name at a place; None, the beginning, if the place is neither remembered nor there any more."""
        stored = self._places.get(cookie)
        return self._files.names.stored_name_at(self._number, cookie) if stored is None else stored
