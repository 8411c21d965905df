"""What shares a volume: like with like, each piece once, and nothing that is not worth it."""

from hypothesis import given
from hypothesis import strategies as st

from stratum.core.packing import (
    COLDEST,
    MIXED,
    SPARSE,
    Bins,
    PackingRule,
    Piece,
    Use,
    is_inline_taken,
    is_taken,
    temperature,
    why_repacked,
)
from stratum.core.records import Run

RULE = PackingRule(cold_days=30, bin_bytes_min=1000)
pieces = st.lists(
    st.builds(
        Piece,
        content=st.integers(1, 10**6),
        offset=st.integers(0, 10**6),
        run=st.integers(1, 900).map(lambda size: Run(None, bytes(size))),
        idle=st.floats(0, 5000),
    ),
    max_size=60,
)


def test_a_temperature_rises_with_each_doubling_and_ends():
    assert [temperature(days, RULE) for days in (0, 29.9, 30, 59, 60, 120, 240, 10**6)] == [
        0,
        0,
        1,
        1,
        2,
        3,
        4,
        COLDEST,
    ]


@given(st.lists(st.tuples(pieces, st.sampled_from(["", "warm"])), max_size=6))
def test_each_piece_is_in_one_bin_with_its_like_or_found_again_later(batches):
    bins, made = Bins(4000, 20, 5, RULE), []
    for some, wishes in batches:
        made += bins.add(some, wishes)
    full = list(made)
    made += bins.rest()
    collected = [id(piece) for each in made for piece in each.pieces]
    assert len(collected) == len(set(collected))
    for each in made:
        assert each.size == sum(piece.run.length for piece in each.pieces)
        assert {temperature(piece.idle, RULE) for piece in each.pieces} == {each.temperature}
        assert each.idle == min(piece.idle for piece in each.pieces)
        assert len(each.pieces) <= 20 and each.size < 4000 + 900
        assert (each.size >= 4000 or len(each.pieces) == 20) if each in full else each.size >= 1000
    assert bins.rest() == []


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1), st.booleans(), st.booleans())
def test_only_what_wins_room_or_separates_is_repacked(room, live_share, cold_share, held, tiers):
    live = int(room * live_share)
    cold = int(live * cold_share)
    reason = why_repacked(Use(room, live, cold, held), tiers=tiers, rule=RULE)
    if reason == SPARSE:
        assert live < room / 2, "at most one byte is copied for each that is won"
    if reason == MIXED:
        assert tiers and not held and live > 0 and cold >= 0.1 * live and live - cold >= 0.1 * live
    if live >= room / 2 and (cold == live or cold == 0) and live:
        assert reason == "", "what is of one kind stays"


def test_of_a_mixed_pack_the_cold_go_and_of_a_sparse_one_all():
    fresh, old = (Piece(1, 0, Run(None, bytes(100)), idle) for idle in (1.0, 31.0))
    assert [is_taken(SPARSE, each, RULE) for each in (fresh, old)] == [True, True]
    assert [is_taken(MIXED, each, RULE) for each in (fresh, old)] == [False, True]
    assert [is_inline_taken(each, RULE) for each in (fresh, old)] == [False, True]
    assert not is_inline_taken(Piece(1, 0, Run(None, bytes(10)), 31.0), RULE), "its row would be as large"
