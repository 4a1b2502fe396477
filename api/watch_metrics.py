"""What Prometheus is told of the invariant watch, read from the books when it asks: any process's API can say it."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Gauge

from api.errors import is_database_outage
from api.reading import EVERYTHING, Reads
from ledger.watched import Watched, read_watch


class WatchMetrics:
    """Gauges of one application. While the database is away they keep their last values, and `up` says so."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"ledgerline_ledger_{name}", says, labels, registry=registry)

        self._readable = gauge("watch_readable", "1 when the gauges below were read just now.")
        self._ok = gauge("ok", "1 while no violation is open, 0 otherwise.")
        self._last_run = gauge("watch_last_run_timestamp_seconds", "When the last run looked at the books.", "kind")
        self._behind = gauge("watch_behind_movements", "Movements recorded and not verified yet at the last run.")
        self._behind_seconds = gauge("watch_behind_seconds", "Age of the oldest of them.")
        self._entries = gauge("watch_entries_verified", "Entries verified since the beginning.")
        self._violations = gauge("violations_open", "Violations found, neither gone nor taken note of.")
        self._stopped = gauge("payouts_stopped", "1 while payouts in the currency are stopped.", "currency")

    async def refresh(self, reads: Reads) -> None:
        """Read the gauges' values."""
        try:
            async with reads.connection(EVERYTHING) as connection:
                watched = await read_watch(connection)
        except Exception as error:
            if not is_database_outage(error):
                raise
            self._readable.set(0)
            return
        self._show(watched)

    def _show(self, watched: Watched) -> None:
        self._readable.set(1)
        self._ok.set(watched.ok)
        self._violations.set(watched.violations_open)
        for kind, report in (("incremental", watched.incremental), ("full", watched.full)):
            if report is not None:
                at = datetime.fromisoformat(report["checked_at"]).astimezone(UTC)
                self._last_run.labels(kind).set(at.timestamp())
        if watched.incremental is not None:
            self._behind.set(watched.incremental["movements_behind"])
            self._behind_seconds.set(watched.incremental["behind_seconds"])
            self._entries.set(watched.incremental["entries_verified"])
        self._stopped.clear()
        for currency in watched.stopped:
            self._stopped.labels(currency).set(1)
