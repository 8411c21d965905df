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


def test_a_rule_that_saw_each_step_before_paying_would_keep_what_is_known_of_task_systems():
    """2 n - 1 = 5 for three states: so what is worse than that comes of paying first, and of nothing else."""
    for book, gb in ((BOOK, 1.0), (WAITING, 1.0), (WAITING, 1e-4)):
        assert Game(book, gb, points=10).values(5.0, seeing=True) is not None
    tiny = Game(TINY, 1e-5, points=10)
    assert tiny.values(5.0, seeing=True) is not None and tiny.values(5.0, rule=False) is None


def test_where_no_rule_keeps_five_the_fallback_keeps_to_what_any_rule_can():
    tiny = Game(TINY, 1e-5, points=14)
    assert tiny.values(7.2, rule=False) is None and tiny.values(7.8) is not None


TINY = replace(WAITING, tier=replace(
    WAITING.tier,
    hot=replace(WAITING.tier.hot, storage_usd_per_gb_month=0.08, write_usd_per_gb=0.0002, move_in_usd_per_object=1e-7),
    warm=replace(WAITING.tier.warm, storage_usd_per_gb_month=0.045, first_byte_ms=12.0, write_usd_per_gb=0.0002,
                 move_in_usd_per_object=1e-7),
    cold=replace(WAITING.tier.cold, storage_usd_per_gb_month=0.006, first_byte_ms=150.0, retrieval_usd_per_gb=0.01,
                 request_usd=4e-7, move_in_usd_per_object=1e-6),
))  # fmt: skip
