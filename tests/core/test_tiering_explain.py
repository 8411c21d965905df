"""Decisions in words and as JSON, made again from it."""

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stratum.core.tiering.decide import decide
from stratum.core.tiering.explain import WHY, explain, from_json, recompute, to_json
from stratum.core.tiering.groups import GroupEvidence
from stratum.core.tiering.policy import Policy
from stratum.core.tiering.prices import TIERS
from stratum.core.tiering.rule import REASONS
from tests.core.tiering_cases import BOOK, books, lived, situations


@settings(max_examples=50, deadline=None)
@given(situations(), books)
def test_any_decision_is_recomputed_from_its_json(situation, book):
    decision = decide(situation, book, Policy())
    text = to_json(decision)
    assert recompute(text) == from_json(text) == decision
    assert "null" not in json.dumps(json.loads(text)["situation"])
    assert explain(decision).endswith("when it is read.")


def test_a_thousand_decisions_are_recomputed_from_their_json():
    rng, tiers = random.Random(3), set()
    for _ in range(1000):
        chance, gb = rng.choice([0.0, 0.02, 0.2, 1.0]), 10 ** rng.uniform(-7, 3)
        days = [
            (1, gb * rng.choice([1.0, 0.3])) if rng.random() < chance else (0, 0.0) for _ in range(rng.randint(1, 15))
        ]
        group = GroupEvidence(read=rng.random() * 40, exposure=40.0)
        situation = lived(days, gb=gb, tier=rng.randrange(3), group=group, spike=rng.random() < 0.1)
        decision = decide(situation, BOOK, Policy())
        again = recompute(to_json(decision))
        assert (again.tier, again.reason) == (decision.tier, decision.reason) and again == decision
        tiers.add((decision.was, decision.tier))
    assert len(tiers) == 9  # every stay and every move is among them


def test_every_reason_has_words():
    assert set(WHY) == set(REASONS)


def test_an_explanation_names_tiers_money_and_what_would_change_it():
    decision = decide(lived([(1, 1.0), (0, 0.0)] * 20, group=GroupEvidence(exposure=200.0)), BOOK, Policy())
    assert explain(decision) == (
        "warm: no other tier saves enough to pay for the move there; expected reads: a full read every 5.35 days "
        "(its own days say a full read every 2.01 days, its group says a full read every 130 days and weighs 63%); "
        "hot would cost 0.0381 USD more a month; cold would cost 0.0362 USD more a month. "
        "Hotter above a full read every 1.94 days, colder below a full read every 8.89 days; "
        "next look in 32 days, or when it is read."
    )


def test_the_costs_of_a_tier_add_up_to_what_the_rule_used():
    decision = decide(lived([(1, 1.0), (0, 0.0)] * 20), BOOK, Policy())
    for tier, cost in enumerate(decision.costs):
        rent = 30.4375 * (0.004, 0.002, 0.0002)[tier]
        assert cost.storage == pytest.approx(rent)
        assert cost.waiting == pytest.approx(0.0)
        assert cost.month == pytest.approx(cost.storage + cost.reads)
    assert decision.break_even_days["warm-cold"] == pytest.approx(9.45, abs=0.01)


def test_what_would_change_it_is_where_the_choice_turns():
    situation = lived([(1, 1.0), (0, 0.0)] * 20, group=GroupEvidence(exposure=200.0))
    policy = Policy(bound=0.0)
    decision = decide(situation, BOOK, policy)
    assert decision.colder_below < decision.leave_rate and decision.rise_rate < decision.hotter_above

    def at(rate: float, weight: float) -> str:
        group = (rate * (situation.exposure + weight) - situation.reads) / weight
        return decide(replace(situation, group_rate=group), BOOK, policy).tier

    assert at(decision.hotter_above * 1.001, policy.rise_days) == "hot"
    assert at(decision.hotter_above * 0.999, policy.rise_days) == "warm"
    assert at(decision.colder_below * 0.999, policy.leave_days) == "cold"


@given(
    st.just(0.0) | st.floats(0.01, 30.0), st.floats(1.0, 60.0), st.floats(0.001, 2.0), st.sampled_from([0.1, 1.0, 10.0])
)
def test_the_estimate_is_told_with_whose_days_it_comes_from(reads, exposure, group, hint):
    """So who reads of a move up finds out whether the unit was read, or what lies beside it."""
    situation = replace(lived([(1, 1.0)]), reads=min(reads, exposure), exposure=exposure, group_rate=group, hint=hint)
    decision = decide(situation, BOOK, Policy())
    up = TIERS.index(decision.tier) < TIERS.index(decision.was)
    rate = decision.rise_rate if up else decision.leave_rate
    weight = (15 if up else 60) / (exposure + (15 if up else 60))
    own, theirs = min(reads, exposure) / exposure, group * hint
    assert rate == pytest.approx(own * (1 - weight) + theirs * weight)
    told = re.search(
        r"expected reads: (.*) \(its own days say (.*), its group says (.*?)( with a hint)? and weighs (.*)%\)",
        explain(decision),
    )
    assert [_rate(told[at]) for at in (1, 2, 3)] == [pytest.approx(each, rel=0.06) for each in (rate, own, theirs)]
    assert bool(told[4]) == (hint != 1.0) and float(told[5]) == pytest.approx(100 * weight, abs=0.51)


def _rate(words: str) -> float:
    if words == "no read at all":
        return 0.0
    number = float(re.search(r"[0-9.]+(e[-+]?[0-9]+)?", words)[0])
    return number if words.endswith("a day") else 1 / number
