"""The consistency checker finds what is planted, and nothing else: compared with brute force."""

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from registers import ABSENT, NEVER, Operation, check, lost_updates

GOOD = [
    Operation(0, "put", "k", 0, 10, "a"),
    Operation(1, "get", "k", 11, 12, "a"),
    Operation(0, "put", "k", 13, 20, "b"),
    Operation(1, "get", "k", 14, 15, "b"),
    Operation(2, "create", "k", 21, 22, "c", refused=True),
    Operation(0, "delete", "k", 23, 24),
    Operation(2, "create", "k", 25, 26, "d"),
    Operation(3, "swap", "k", 27, 28, "e", expected="d"),
    Operation(3, "get", "k", 29, 30, "e"),
]


def test_a_good_history_is_good():
    assert check(GOOD) == []


def test_a_stale_read_is_found():
    assert check([*GOOD, Operation(1, "get", "k", 31, 32, "b")])


def test_a_read_of_a_deleted_value_is_found():
    assert check([*GOOD[:6], Operation(1, "get", "k", 25, 26, "b")])


def test_a_read_that_misses_an_acknowledged_put_is_found():
    assert check([*GOOD, Operation(1, "get", "k", 31, 32, ABSENT)])


def test_a_read_that_goes_back_in_time_while_a_put_is_under_way_is_found():
    history = [
        Operation(0, "put", "k", 0, 10, "a"),
        Operation(0, "put", "k", 20, 90, "b"),
        Operation(1, "get", "k", 30, 40, "b"),
    ]
    assert check(history) == []
    assert check([*history, Operation(2, "get", "k", 50, 60, "a")])


def test_a_value_from_nowhere_is_found():
    assert check([*GOOD, Operation(1, "get", "k", 31, 32, "z")])


def test_two_winners_of_one_create_are_found():
    race = [Operation(n, "create", "k", 0, 10, f"v{n}") for n in range(16)]
    assert (
        check([race[0], *(Operation(op.client, "create", "k", 0, 10, op.value, refused=True) for op in race[1:])]) == []
    )
    assert check(race[:2])


def test_a_race_without_a_winner_is_found():
    assert check([Operation(n, "create", "k", 0, 10, f"v{n}", refused=True) for n in range(16)])


def test_a_lost_update_is_found_both_ways():
    history = [
        Operation(0, "put", "k", 0, 10, "a"),
        Operation(1, "swap", "k", 20, 40, "b", expected="a"),
        Operation(2, "swap", "k", 21, 41, "c", expected="a"),
    ]
    assert check(history)
    assert lost_updates(history) == [(history[1], history[2])]
    assert lost_updates(history[:2]) == []


def test_a_put_without_an_answer_may_have_happened_at_any_time_or_never():
    history = [Operation(0, "put", "k", 0, 10, "a"), Operation(1, "put", "k", 11, NEVER, "b")]
    seen_late = [Operation(2, "get", "k", 20, 21, "a"), Operation(2, "get", "k", 30, 31, "b")]
    assert check([*history, *seen_late]) == []
    assert check([*history, seen_late[0]]) == []
    assert check([*history, *seen_late, Operation(2, "get", "k", 40, 41, "a")])


@st.composite
def histories(draw):
    """Up to five operations of three clients on one key, right or wrong."""
    values = ["v0", "v1", "v2", "v3", "v4"]
    history, clock = [], dict.fromkeys(range(3), 0)
    for number in range(draw(st.integers(1, 5))):
        client = draw(st.integers(0, 2))
        begin = clock[client] + draw(st.integers(1, 6))
        end = begin + draw(st.integers(1, 12))
        clock[client] = end
        kind = draw(st.sampled_from(["put", "get", "get", "delete", "create", "swap"]))
        seen = draw(st.sampled_from([ABSENT, *values[: number + 1]]))
        value = seen if kind == "get" else ABSENT if kind == "delete" else values[number]
        refused = kind in ("create", "swap") and draw(st.booleans())
        end = NEVER if kind == "put" and draw(st.integers(0, 5)) == 0 else end
        history.append(Operation(client, kind, "k", begin, end, value, seen if kind == "swap" else ABSENT, refused))
    return history


def explained(history: list[Operation]) -> bool:
    """By brute force: some order, with any of the unanswered ones left out, respects time and the register."""
    open_ones = [op for op in history if op.end == NEVER]
    closed = [op for op in history if op.end < NEVER]
    for mask in range(1 << len(open_ones)):
        taken = closed + [op for number, op in enumerate(open_ones) if mask >> number & 1]
        if any(_holds(order) for order in permutations(taken)):
            return True
    return False


def _holds(order: tuple[Operation, ...]) -> bool:
    state, latest = ABSENT, -1
    for operation in order:
        if operation.end < latest:
            return False  # it had ended before one that stands in front of it began
        latest = max(latest, operation.begin)
        state = operation.after(state)
        if state is None:
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(histories())
def test_the_checker_agrees_with_brute_force(history):
    assert (check(history) == []) == explained(history)
