"""What disks of unequal sizes can hold, against all ways to fill them; and that placement gets there."""

from functools import cache
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.core.capacity import shard_bytes_max, usable_bytes
from stratum.core.placement import choose_slots, shares

sizes = st.lists(st.integers(0, 4), min_size=1, max_size=5)


@cache
def most_volumes(rooms: tuple[int, ...], shards: int) -> int:
    """The most volumes of one unit a shard, by trying every choice of disks for each."""
    best = 0
    with_room = [at for at, room in enumerate(rooms) if room]
    for chosen in combinations(with_room, shards):
        left = tuple(sorted(room - (at in chosen) for at, room in enumerate(rooms)))
        best = max(best, 1 + most_volumes(left, shards))
    return best


@given(sizes, st.integers(1, 4))
def test_the_formula_is_the_best_of_all_ways_to_fill_the_disks(rooms, shards):
    assert shard_bytes_max(rooms, shards) == most_volumes(tuple(sorted(rooms)), shards)


@pytest.mark.parametrize(
    ("rooms", "full", "all_codes"),
    [
        ([10] * 6, 40, 40),
        ([10] * 7, 44, 44 + 0),  # 70 of 6 shards: 11 each, 4 left on one disk or more
        ([10] * 12, 80, 80),
        ([100, 10, 10, 10, 10, 10], 40, 40),  # the largest can give no more than the others take
        ([10] * 5, 0, 30),  # 3+2
        ([10, 10, 10, 10, 10, 4], 16, 16 + 18),
        ([10] * 3, 0, 0),
    ],
)
def test_examples_of_4_and_2(rooms, full, all_codes):
    assert usable_bytes(rooms, 4, 2, narrower=False) == full
    assert usable_bytes(rooms, 4, 2) == all_codes


@given(st.lists(st.just(0.0) | st.floats(1e-3, 1e9), min_size=1, max_size=12), st.integers(1, 12))
def test_shares_are_in_proportion_up_to_one(weights, m):
    if sum(1 for weight in weights if weight > 0) < m:
        return
    parts = shares(weights, m)
    assert sum(parts) == pytest.approx(m)
    assert all(0 <= part <= 1 + 1e-9 for part in parts)
    below = [(part, weight) for part, weight in zip(parts, weights, strict=True) if 0 < part < 1 and weight > 1e-3]
    for part, weight in below:
        assert part / weight == pytest.approx(below[0][0] / below[0][1])


@given(st.integers(0, 2**63), st.lists(st.integers(0, 10**12), min_size=6, max_size=14))
def test_whatever_room_there_is_no_two_shards_share_a_disk(volume, rooms):
    chosen = choose_slots(volume, range(len(rooms)), 6, dict(enumerate(rooms)))
    assert len(set(chosen)) == 6
    assert set(chosen) <= set(range(len(rooms)))


@pytest.mark.parametrize(
    "rooms",
    [
        [1000] * 7,
        [4000, 1000, 1000, 1000, 1000, 1000, 1000, 500],
        [100, 200, 300, 400, 500, 600, 700, 800],
        [900] * 6 + [90],
    ],
)
def test_disks_filled_by_their_room_hold_what_the_formula_says(rooms):
    """Volumes of one unit a shard, until some disk that is chosen has none left."""
    left, volumes = dict(enumerate(rooms)), 0
    while sum(1 for room in left.values() if room > 0) >= 6:
        for slot in choose_slots(volumes, [slot for slot, room in left.items() if room > 0], 6, left):
            left[slot] -= 1
        volumes += 1
    assert volumes >= 0.99 * shard_bytes_max(rooms, 6)


def test_equal_disks_are_chosen_equally_often():
    chosen = [slot for volume in range(7000) for slot in choose_slots(volume, range(7), 6)]
    counts = [chosen.count(slot) for slot in range(7)]
    assert max(counts) - min(counts) < 20
