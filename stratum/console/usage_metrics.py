"""What buckets and owners hold, for /-/metrics: of those that hold most, for a label costs whoever collects it.

Room: stratum/console. May import: engine. Looking is never an access (law 12).
"""

from collections.abc import Iterable, Iterator
from heapq import nlargest

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stratum.engine.engine import Engine

ROWS_MAX = 100  # buckets, and owners, that have metrics of their own
FIELDS = {
    "bytes": "Bytes held, versions and parts of uploads included",
    "objects": "Objects and versions held",
    "bytes_max": "The quota in bytes, where there is one",
    "objects_max": "The quota in objects, where there is one",
}


class UsageNumbers(Collector):
    """Reads the counters at the moment of the scrape."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Four families for buckets, four for owners."""
        quotas = self._engine.quotas
        for what, rows in (("bucket", quotas.buckets()), ("owner", quotas.owners())):
            largest = nlargest(ROWS_MAX, rows, key=lambda row: row.bytes)
            for field, words in FIELDS.items():
                family = GaugeMetricFamily(f"stratum_{what}_{field}", words, labels=[what])
                for row in largest:
                    value = getattr(row, field)
                    if value is not None:
                        family.add_metric([row.name], value)
                yield family
