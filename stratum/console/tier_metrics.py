"""Metrics of tiering (docs/tiering.md). Nothing is labelled by key: what one object is like, `explain` says.

Room: stratum/console. May import: core.tiering, engine. Only numbers that cost nothing to read.
"""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stratum.engine.engine import Engine
from stratum.engine.tiering_numbers import TIERS as SHOWN

PREFIX = "stratum_tier_"


class TierNumbers(Collector):
    """Reads the deciding service at the moment of the scrape."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, each with its help; none where nobody decides."""
        if self._engine.tiering.active:
            yield from self._contents()
            yield from self._moves()
            yield from self._first_bytes()
            yield from self._judgement()
            yield from self._bounds()

    def _contents(self) -> Iterator[Metric]:
        census = self._engine.tiering.census
        for name, words, found in (
            ("bytes", "Bytes of volumes, as of the last evening and with the moves since", census.bytes),
            ("objects", "Objects, one for each volume that they are in, as of the last evening", census.objects),
        ):
            family = GaugeMetricFamily(PREFIX + name, words, labels=["tier"])
            for tier in self._engine.tiers.tiers():
                family.add_metric([tier], float(found.get(tier, 0)))
            yield family

    def _moves(self) -> Iterator[Metric]:
        tiering = self._engine.tiering
        moves = CounterMetricFamily(
            PREFIX + "moves", "Volumes moved since the start, by why", labels=["from", "to", "reason"]
        )
        for labels, count in tiering.moved.items():
            moves.add_metric(labels, count)
        yield moves
        yield CounterMetricFamily(PREFIX + "move_bytes", "Bytes moved since the start", value=tiering.moves.bytes)
        yield CounterMetricFamily(PREFIX + "cold_reads", "Visits to cold volumes, by evening", value=tiering.cold_reads)

    def _first_bytes(self) -> Iterator[Metric]:
        numbers = self._engine.tiering.first_bytes
        family = HistogramMetricFamily(
            PREFIX + "read_first_byte_seconds", "Until the first bytes of a GET were there", labels=["tier"]
        )
        for tier in SHOWN:
            family.add_metric([tier], numbers.buckets(tier), sum_value=numbers.sums[tier])
        yield family

    def _judgement(self) -> Iterator[Metric]:
        tiering = self._engine.tiering
        totals, week = tiering.rows.state.totals, tiering.last_week
        if week is not None:
            regret = GaugeMetricFamily(PREFIX + "regret_ratio", "Cost over the clairvoyant optimum", labels=["window"])
            regret.add_metric(["7d"], week.regret)
            yield regret
        money = "in the currency of the price book, ever"
        for name, words, value in (
            ("predicted_saving_dollars", f"A month's saving that moves promised, {money}", totals.predicted),
            (
                "flipflops",
                "Moves that took the one before back sooner than the break-even time, ever",
                totals.flip_flops,
            ),
            ("sweeps_detected", "Sweeps of groups noticed, ever", totals.sweeps),
        ):
            yield CounterMetricFamily(PREFIX + name, words, value=value)
        yield GaugeMetricFamily(
            PREFIX + "realised_saving_dollars_total", f"What moves have saved, {money}; may fall", value=totals.realised
        )
        error = abs(totals.seen_reads - totals.expected_reads) / totals.expected_reads if totals.expected_reads else 0.0
        hints = GaugeMetricFamily(
            PREFIX + "hint_reads", "Full reads that hints said, without them, and seen", labels=["hint", "kind"]
        )
        for word, (_, *reads) in totals.hints.items():
            for kind, value in zip(("said", "without", "seen"), reads, strict=True):
                hints.add_metric([word, kind], value)
        yield hints
        words = "Reads seen against reads expected, by bytes, of about the last week: |seen - expected| / expected"
        yield GaugeMetricFamily(PREFIX + "calibration_error", words, value=error)

    def _bounds(self) -> Iterator[Metric]:
        tiering = self._engine.tiering
        shadow = GaugeMetricFamily(
            PREFIX + "shadow_price", "What a GB costs a day above its rent while a tier is full", labels=["tier"]
        )
        for tier, price in zip(SHOWN, tiering.shadow(), strict=False):
            if tier in self._engine.tiers.tiers():
                shadow.add_metric([tier], price)
        yield shadow
        limit = GaugeMetricFamily(PREFIX + "move_limit_remaining", "Left of a budget of moves", labels=["limit"])
        for name, left in tiering.queue.budgets.left(tiering.hour).items():
            limit.add_metric([name], left)
        yield limit
