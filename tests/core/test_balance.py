"""Relocations: never two shards on one disk, disks are emptied, and evening out comes to an end."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.balance import THRESHOLD, Fill, choose_relocation, note_relocation

SIZE = 10
disks = st.lists(
    st.builds(
        lambda total, takes, leaving: (total, takes and not leaving, leaving),
        st.integers(100, 1000),
        st.booleans(),
        st.booleans(),
    ),
    min_size=6,
    max_size=10,
)


def world(described, volumes):
    fills = {slot: Fill(total, 0, total, takes, leaving) for slot, (total, takes, leaving) in enumerate(described)}
    placed = []
    for chosen in volumes:
        slots = [slot % len(described) for slot in chosen]
        slots = list(dict.fromkeys(slots))[:4]
        if all(fills[slot].free >= SIZE for slot in slots) and slots:
            for slot in slots:
                fills[slot].held += SIZE
                fills[slot].free -= SIZE
            placed.append(slots)
    return fills, placed


def test_what_cannot_be_more_even_is_left_alone():
    fills = {0: Fill(100, 30, 70), 1: Fill(100, 20, 80)}
    assert choose_relocation([0], SIZE, fills, 0) is None
    fills[0].held += SIZE
    assert choose_relocation([0], SIZE, fills, 0) == (0, 1)


@given(disks, st.lists(st.permutations(range(10)), max_size=60))
def test_it_ends_with_disks_emptied_and_even_as_far_as_can_be(described, volumes):
    fills, placed = world(described, volumes)
    for _ in range(1000):
        moved = 0
        for slots in placed:
            found = choose_relocation(slots, SIZE, fills, 0)
            if found is not None:
                assert found.target not in slots
                assert fills[found.target].takes
                note_relocation(fills, slots[found.shard], found.target, SIZE)
                slots[found.shard] = found.target
                moved += 1
        if not moved:
            break
    else:
        raise AssertionError("it goes on for ever")
    for slots in placed:
        others = [slot for slot, fill in fills.items() if fill.takes and slot not in slots and fill.free >= SIZE]
        if others:
            assert not any(fills[slot].leaving for slot in slots)
            fullest = max(fills[slot].ratio for slot in slots)
            emptiest = min(fills[slot].ratio for slot in others)
            assert fullest - emptiest < THRESHOLD + 2 * SIZE / 100
