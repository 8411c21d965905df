"""/-/metrics: what a Prometheus scrapes. Only numbers that cost nothing to read: a scrape must not walk the index.

Room: stratum/console. May import: console.{access, tier_metrics}, engine. Looking is never an access (law 12).
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Blueprint, Response, request

from stratum.console.access import Authorise, Denied, asked, is_bearer
from stratum.console.tier_metrics import TierNumbers
from stratum.console.usage_metrics import UsageNumbers
from stratum.engine.engine import Engine

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")


class EngineNumbers(Collector):
    """Reads the engine at the moment of the scrape."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, each with its help."""
        yield from self._disks()
        engine = self._engine
        writable = 0.0 if engine.meta.failed else 1.0
        yield GaugeMetricFamily("stratum_metadata_writable", "1 while the store takes writes", value=writable)
        yield CounterMetricFamily("stratum_metadata_commits", "Metadata commits, ever", value=engine.meta.sequence)
        for name, words, value in (
            ("shards_rebuilt", "Shards rebuilt since the start", engine.repairer.rebuilt),
            ("volumes_reaped", "Volumes removed since the start", engine.reaper.reaped),
            ("orphans_removed", "Shard files without a volume removed since the start", engine.reaper.orphans_removed),
            ("volumes_scrubbed", "Volumes verified since the start", engine.scrubber.verified),
            ("shards_damaged", "Damaged shards found by scrubbing since the start", engine.scrubber.damaged),
            ("lifecycle_expired", "Versions and delete markers that expired since the start", engine.lifecycle.expired),
            ("lifecycle_aborted", "Uploads aborted by lifecycle rules since the start", engine.lifecycle.aborted),
            ("inventories_written", "Inventories written since the start", engine.inventories.written),
            ("inventories_failed", "Inventories that could not be written since the start", engine.inventories.failed),
            ("access_log_lines", "Lines written into buckets since the start", engine.access_logs.delivered),
            ("access_log_lines_dropped", "Lines left out since the start", engine.access_logs.dropped),
        ):
            yield CounterMetricFamily(f"stratum_{name}", words, value=value)
        yield from self._closes()
        yield from self._notifications()
        yield from self._replications()

    def _closes(self) -> Iterator[Metric]:
        standing = self._engine.files.standing
        yield GaugeMetricFamily(
            "stratum_mount_closed_files", "Closed files of the mount that are not durable yet", value=standing.waiting
        )
        yield GaugeMetricFamily(
            "stratum_mount_oldest_close_seconds", "Since the first of them was closed", value=standing.oldest
        )
        yield CounterMetricFamily(
            "stratum_mount_closes_held_back",
            "Closes that waited since the start, the machine being too slow for what they promise",
            value=standing.held_back,
        )

    def _notifications(self) -> Iterator[Metric]:
        labels = ["target"]
        waiting = GaugeMetricFamily("stratum_events_waiting", "Events to be told, at the last look", labels=labels)
        counts = {
            name: CounterMetricFamily(f"stratum_events_{name}", words, labels=labels)
            for name, words in (
                ("delivered", "Events told since the start"),
                ("failed", "Attempts to tell an event that failed since the start"),
                ("expired", "Events given up since the start"),
                ("dropped", "Events that found the queue full, ever"),
            )
        }
        for target, standing in self._engine.notifying.standing.items():
            waiting.add_metric([target], standing.waiting)
            for name, family in counts.items():
                family.add_metric([target], getattr(standing, name))
        yield waiting
        yield from counts.values()

    def _replications(self) -> Iterator[Metric]:
        labels = ["target"]
        waiting = GaugeMetricFamily("stratum_replication_waiting", "Versions to go, at the last look", labels=labels)
        away = GaugeMetricFamily("stratum_replication_stopped", "1 while the target is away", labels=labels)
        counts = {
            name: CounterMetricFamily(f"stratum_replication_{name}", f"{words} since the start", labels=labels)
            for name, words in (("sent", "Versions sent"), ("bytes", "Bytes sent"), ("failed", "Versions given up"))
        }
        for target, standing in self._engine.replications.standing.items():
            waiting.add_metric([target], standing.waiting)
            away.add_metric([target], 1.0 if standing.trouble else 0.0)
            for name, family in counts.items():
                family.add_metric([target], getattr(standing, name))
        yield from (waiting, away, *counts.values())

    def _disks(self) -> Iterator[Metric]:
        disks = self._engine.disks
        serving = GaugeMetricFamily("stratum_disk_in_service", "1 while the disk is in service", labels=["slot"])
        total = GaugeMetricFamily("stratum_disk_total_bytes", "Size of the disk's file system", labels=["slot"])
        free = GaugeMetricFamily("stratum_disk_free_bytes", "Free bytes on it", labels=["slot"])
        for slot in disks.slots():
            state, label = disks.state(slot), [str(slot)]
            serving.add_metric(label, float(state.in_service))
            total.add_metric(label, state.total)
            free.add_metric(label, state.free)
        yield from (serving, total, free)


class RequestCounts(Collector):
    """S3 requests by method and status, and the seconds until their answers began."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._seconds: dict[str, float] = {}

    def add(self, method: str, status: int, seconds: float) -> None:
        """Count one request. Methods that S3 does not have are counted together: clients choose the word."""
        method = method if method in METHODS else "other"
        self._counts[method, str(status)] = self._counts.get((method, str(status)), 0) + 1
        self._seconds[method] = self._seconds.get(method, 0.0) + seconds

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Both families."""
        requests = CounterMetricFamily("stratum_s3_requests", "S3 requests answered", labels=["method", "status"])
        for labels, count in self._counts.items():
            requests.add_metric(labels, count)
        seconds = CounterMetricFamily("stratum_s3_request_seconds", "Until the answer began", labels=["method"])
        for method, total in self._seconds.items():
            seconds.add_metric([method], total)
        yield from (requests, seconds)


def add_metrics(pages: Blueprint, engine: Engine, authorise: Authorise, token: str, counts: RequestCounts) -> None:
    """Put the page on the blueprint. It opens to the bearer `token` and to the root credential."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(EngineNumbers(engine))
    registry.register(UsageNumbers(engine))
    registry.register(TierNumbers(engine))
    registry.register(counts)
    ProcessCollector(registry=registry)

    @pages.get("/metrics")
    async def metrics() -> Response:
        if not is_bearer(request.headers.get("Authorization", ""), token):
            access_key = await authorise(await asked())
            if not engine.credentials.is_root(access_key):
                raise Denied("this needs the root credential or the metrics token")
        return Response(generate_latest(registry), 200, content_type=CONTENT_TYPE_LATEST)
