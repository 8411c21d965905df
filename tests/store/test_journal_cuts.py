"""Power cuts at every point of the journal's work, over several lives, with disks away, wiped and failing.

Room: tests. May import: stratum.core, stratum.store, tests.fakes.

The oracle is a list of acknowledged commits: what is read back is all of them, and at most the one more that was
under way (then it counts from there on, P4). At most two disks are lost at a time (P1).
"""

import errno
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.core.errors import StratumError
from stratum.store import failpoints
from stratum.store.journal import Journal
from tests.store.journal_lab import COPIES, SLOTS, STORE, Lab


class PowerCut:
    """From the n-th failpoint on nothing reaches any disk."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, point: str) -> None:
        self.left -= 1
        if self.left <= 0:
            raise OSError(errno.EIO, "the power is off")


class World:
    """Disks, and what the clients were told."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lab = Lab()
        self.log: list[list[tuple[bytes, bytes | None]]] = []  # acknowledged, commit n at n - 1
        self.under_way: list[tuple[bytes, bytes | None]] | None = None
        self.away: tuple[int, ...] = ()

    def live(self, power: int | None) -> None:
        """One life of the server, ended by a power cut at the point `power` (None: after all is done)."""
        failpoints.set_hook(PowerCut(power) if power is not None else None)
        journal = Journal(self.lab.disks(without=self.away), COPIES, STORE)
        try:
            journal.start(len(self.log) + 1)
            self.lose_others()
            for _ in range(self.chance.randrange(12)):
                self.step(journal)
        except StratumError:
            assert power is not None, "without a power cut two disks may fail and all goes on"
        finally:
            journal.close()
            failpoints.set_hook(None)
        for disk in self.lab.disk.values():
            disk.cut_power(self.chance)
            disk.heal()

    def step(self, journal: Journal) -> None:
        if self.chance.random() < 0.2:
            journal.write_snapshot(len(self.log), sorted(state_of(self.log).items()))
            return
        self.under_way = [
            (b"key %d" % self.chance.randrange(5), self.chance.choice([None, self.chance.randbytes(20)])),
            (b"large", self.chance.randbytes(self.chance.choice([0, 0, 9000]))),
        ]
        journal.append_begin(len(self.log) + 1, self.under_way).wait()
        self.log.append(self.under_way)
        self.under_way = None

    def lose_others(self) -> None:
        """The store is whole again: other disks may be away from the next life on, or fail in this one."""
        for slot in self.away:
            if self.chance.random() < 0.3:
                self.lab.disk[slot].wipe()
        failing = self.chance.sample(range(SLOTS), 2 - len(self.away))
        for slot in failing:
            if self.chance.random() < 0.3:
                self.lab.disk[slot].inject(errno.EIO, skip=self.chance.randrange(30), times=None)
        self.away = tuple(self.chance.sample(range(SLOTS), self.chance.choice([0, 0, 1, 2])))

    def check(self) -> None:
        """Read back, and compare with what clients know."""
        found = self.lab.found(without=self.away)
        if found.last == len(self.log) + 1 and self.under_way is not None:
            self.log.append(self.under_way)
        self.under_way = None
        assert found.last == len(self.log)
        assert found.records == [(seq, self.log[seq - 1]) for seq in range(found.snapshot + 1, found.last + 1)]
        assert dict(found.rows or ()) == state_of(self.log[: found.snapshot])


def state_of(log):
    state = {}
    for changes in log:
        for key, value in changes:
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
    return state


@settings(max_examples=60, deadline=None)
@given(st.integers(0), st.lists(st.none() | st.integers(1, 600), min_size=1, max_size=6))
def test_nothing_acknowledged_is_lost_and_nothing_dead_returns(seed, cuts):
    world = World(seed)
    for power in cuts:
        world.live(power)
        world.check()


@pytest.mark.parametrize("step", range(5))
def test_a_cut_at_every_single_point_of_a_busy_life(step):
    """Start over an old journal, records, a snapshot, records: cut at each fifth point, here from `step` on."""
    for power in range(1 + step, 400, 5):
        world = World(power)
        world.live(None)
        world.live(power)
        world.check()
        world.live(None)
        world.check()
