"""A small run of the consistency campaign on the real process; and that it would see what it is there to see."""

from collections import Counter

import consistency
import pytest
from registers import Operation
from served import Served, free_port


@pytest.mark.system
@pytest.mark.slow
def test_a_small_run_with_a_kill_in_the_middle_finds_nothing():
    settings = consistency.Settings(operations=600, clients=8, races=5, kills=1, seed=7)
    with Served(address=f"127.0.0.1:{free_port()}") as server:
        seen = consistency.play(server, settings)
        found, _ = consistency.judge(seen)
        raced = consistency.races(server, settings)
    assert found == []
    assert consistency.broken_races(raced) == []
    assert raced["one winner"] == 10
    assert "nothing found" in consistency.page(settings, seen, raced, found, 0.1, "abc")


def test_a_planted_stale_read_is_found_and_named_on_the_page():
    history = [
        Operation(0, "put", "key-00", 0, 1, "one"),
        Operation(0, "put", "key-00", 2, 3, "two"),
        Operation(1, "get", "key-00", 4, 5, "one"),
    ]
    seen = consistency.Seen(history, Counter({"put 200": 2, "get 200": 1}), seconds=1.0)
    found, judged = consistency.judge(seen)
    assert len(found) == 1 and "key-00" in found[0]
    text = consistency.page(consistency.Settings(), seen, Counter(), found, judged, "abc")
    assert "**1 violations**" in text and found[0] in text


def test_a_race_with_two_winners_or_none_is_found():
    assert consistency.broken_races(Counter({"one winner": 10, "2 winners": 1, "0 winners": 1, "answer 500": 2})) == [
        "races: 0 winners: 1",
        "races: 2 winners: 1",
        "races: answer 500: 2",
    ]
