"""The disks that hold the journal: how copies of it come to be, are replaced and are tidied.

Room: stratum/store. May import: core.errors, core.journal_format, store.disk, disk_thread, journal_copy,
journal_files, quorum, read_back, segments.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from stratum.core.errors import CorruptJournal, StratumError
from stratum.core.journal_format import RECORD_HEADER_BYTES, Mark
from stratum.store.disk import Disk
from stratum.store.disk_thread import DiskThread, together
from stratum.store.journal_copy import Basis, Copy, Tail
from stratum.store.journal_files import claim, leftovers, remove, unfinished
from stratum.store.quorum import Quorum
from stratum.store.read_back import Survey, survey
from stratum.store.segments import Reading

log = logging.getLogger(__name__)


class Copies:
    """The copies of one epoch. `changing` is held while one is made and while old files are dropped."""

    def __init__(self, quorum: Quorum) -> None:
        self.quorum = quorum
        self.epoch = 0  # 0: not begun
        self.bases: tuple[Mark, ...] = ()
        self.members: list[Copy] = []  # replaced, never changed: it is looked at from several threads
        self.changing = threading.Lock()

    def begin_epoch(self, epoch: int) -> None:
        """Take the number `epoch` on every disk, and clear away what was never finished.

        Raises TooFewDisks or StoreFull if that does not succeed on enough disks to be sure that it is new.
        """

        def take(disk: Disk, reading: Reading) -> None:
            remove(disk, unfinished(disk, reading), reading)
            claim(disk, epoch)

        taken = self._on(self.quorum.usable(), take)
        self.quorum.require_witnesses(len(taken))
        self.epoch = epoch

    def establish(self, basis: Basis, last: int) -> None:
        """Make as many copies as there shall be, each with everything up to commit `last`.

        None gets its name before enough of them are durable. Raises TooFewDisks, StoreFull, CorruptJournal.
        """
        self.bases = basis.bases
        newest = next(iter(basis.snapshots.values()), ())
        holders = {id(snapshot.disk) for snapshot in newest}
        disks = sorted(self.quorum.usable(), key=lambda disk: id(disk) not in holders)
        needed = self.quorum.needed()
        ready: list[Copy] = []
        damage: list[CorruptJournal] = []
        while disks and len(ready) < self.quorum.target:
            lacking = self.quorum.target - len(ready)
            batch = [Copy(disk, self.quorum.reading, basis.epoch) for disk in disks[:lacking]]
            del disks[:lacking]
            ready += self._each(batch, lambda copy: copy.prepare(basis, last), damage)
        named = self._each(ready, Copy.publish) if len(ready) >= needed else []
        self.members = named or ready
        if len(named) < self.quorum.target:
            self.top_up(named, (), needed, last)
        if len(named) < needed:
            self.close()
            raise damage[0] if damage else self.quorum.shortage(len(named), needed)
        self.members = named
        self.tidy()

    def top_up(
        self, whole: list[Copy], spare: Sequence[Copy], needed: int, last: int, tail: Tail | None = None
    ) -> None:
        """Add copies on other disks to `whole` until there are enough, made from those of `whole` and `spare`.

        They are given everything up to commit `last`, and the record `tail` after it. Up to `needed` even disks
        are tried that refused a moment ago.
        """
        tried: list[Disk] = [copy.disk for copy in (*whole, *spare)]
        while whole or spare:
            lacking = self.quorum.target - len(whole)
            disks = self.quorum.candidates(tried, eager=len(whole) < needed) if lacking > 0 else []
            if not disks:
                return
            tried.append(disks[0])
            copy = Copy(disks[0], self.quorum.reading, self.epoch)
            sources = [source.disk for source in (*whole, *spare)]
            with self.changing:
                whole += self._each([copy], partial(self._join, sources, last, tail))

    def lose(self, copy: Copy, error: StratumError) -> None:
        """Do without `copy`, because of `error`."""
        copy.close()
        self.quorum.lose(copy.disk, error)

    def drop_unusable(self) -> None:
        """Do without the copies on disks that left service."""
        usable = {id(disk) for disk in self.quorum.usable()}
        if all(id(copy.disk) in usable for copy in self.members):
            return
        for copy in self.members:
            if id(copy.disk) not in usable:
                copy.close()
        self.members = [copy for copy in self.members if id(copy.disk) in usable]

    def tidy(self) -> None:
        """Remove what the copies do not need any more, and everything old from the other disks."""
        members = {id(copy.disk): copy for copy in self.members}

        def drop(disk: Disk, reading: Reading) -> None:
            copy = members.get(id(disk))
            remove(disk, copy.outdated() if copy else leftovers(disk, self.epoch, reading), reading)

        self._on(self.quorum.usable(), drop)

    def close(self) -> None:
        """End all threads."""
        members, self.members = self.members, []
        for copy in members:
            copy.close()
        for copy in members:
            copy.thread.join()

    def _join(self, sources: Sequence[Disk], last: int, tail: Tail | None, copy: Copy) -> None:
        """Make `copy` complete from what `sources` hold; in its thread."""
        found = survey(sources, copy.reading)
        if found.epoch != self.epoch:
            raise CorruptJournal(f"no disk has epoch {self.epoch} to copy from")
        after, _, _ = reach(found)
        basis = Basis(self.epoch, self.bases, found.snapshots, after + 1, partial(found.records, after))
        copy.prepare(basis, last, tail)
        copy.publish()

    def _each(
        self, copies: Sequence[Copy], call: Callable[[Copy], None], damage: list[CorruptJournal] | None = None
    ) -> list[Copy]:
        """Make a call for each copy in its thread; those for which it succeeded. The others are lost."""
        outcomes = together([(copy.thread, partial(call, copy)) for copy in copies], self.quorum.timeout)
        good = []
        for copy, outcome in zip(copies, outcomes, strict=True):
            if outcome is None:
                good.append(copy)
                continue
            if isinstance(outcome, CorruptJournal) and damage is not None:
                damage.append(outcome)
            self.lose(copy, outcome)
        return good

    def _on(self, disks: Sequence[Disk], call: Callable[[Disk, Reading], None]) -> list[Disk]:
        """Make a call on each disk in a thread of its own; those on which it succeeded."""
        threads = [DiskThread(disk, "journal files") for disk in disks]
        calls = [
            (thread, partial(call, thread.disk, replace(self.quorum.reading, touch=thread.touch))) for thread in threads
        ]
        outcomes = together(calls, self.quorum.timeout)
        for thread in threads:
            thread.stop()
            thread.join()
        good = []
        for disk, outcome in zip(disks, outcomes, strict=True):
            if outcome is None:
                good.append(disk)
            else:
                self.quorum.lose(disk, outcome)
        return good


def reach(found: Survey) -> tuple[int, int, int]:
    """(after, last, size): the records after commit `after` lead without a gap to commit `last`.

    `after` is the older of the two newest snapshots, or 0 if there is one only, as long as the records reach back
    so far. `size`: bytes of the records after the newest snapshot. Reads all records. Raises CorruptJournal.
    """
    marks = list(found.snapshots)
    newest = marks[0].seq if marks else 0
    older = marks[1].seq if len(marks) > 1 else 0
    for after in sorted({older, newest}):
        last, size = after, 0
        try:
            for record in found.records(after):
                last = record.seq
                size += RECORD_HEADER_BYTES + len(record.body) if last > newest else 0
        except CorruptJournal as error:
            if after == newest:
                raise
            log.info("journal: begins after commit %d: %s", newest, error)
            continue
        if last >= newest:
            return after, last, size
    return newest, newest, 0
