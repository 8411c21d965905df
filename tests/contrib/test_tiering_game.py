"""The game behind the bound, on a coarse grid: over all histories, not over those that somebody thought of."""

import sys

import pytest
from msgspec.structs import replace

from stratum.core.tiering.guard import CONSTANT
from tests.contrib.conftest import CONTRIB
from tests.core.test_tiering_bound import FAR, WAITING
from tests.core.tiering_cases import BOOK

sys.path.insert(0, str(CONTRIB / "tiering"))
from game import Game


@pytest.mark.parametrize("book", [BOOK, WAITING, FAR], ids=["fees", "waiting", "dear cold"])
def test_the_fallback_keeps_three_and_its_constant(book):
    game = Game(book, 1.0, points=14)
    assert game.values(3.0).max() <= CONSTANT * game.dearest


def test_where_waiting_costs_more_than_fetching_no_rule_keeps_three():
    slow = replace(WAITING, tier=replace(WAITING.tier, cold=replace(WAITING.tier.cold, first_byte_ms=1e5)))
    game = Game(slow, 1.0, points=14)
    assert game.values(3.0) is None and game.values(3.0, rule=False) is None
