"""What Prometheus is told of safeguarding, read from the books when it asks."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from api.errors import is_database_outage
from api.reading import EVERYTHING, Reads
from ledger.safeguarded import OpenBreaks, latest_reconciliations, open_breaks

_OF = ("mode", "currency")


class SafeguardingMetrics:
    """Gauges of one application. While the database is away they keep their last values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"ledgerline_safeguarding_{name}", says, labels, registry=registry)

        self._last = gauge("last_reconciliation_timestamp_seconds", "The instant last reconciled.", *_OF)
        self._requirement = gauge("requirement_minor", "What is owed at that instant, minor units.", *_OF)
        self._resource = gauge("resource_minor", "What banks keep by the books at that instant, minor units.", *_OF)
        self._external = gauge("external", "1 for what the statements came to at that instant.", *_OF, "finding")
        self._breaks = gauge("breaks_open", "Breaks that are open.", *_OF, "kind")
        self._oldest = gauge("oldest_break_seconds", "Age of the oldest open break.", *_OF, "kind")

    async def refresh(self, reads: Reads) -> None:
        """Read the gauges' values."""
        try:
            async with reads.connection(EVERYTHING) as connection:
                latest, found = await latest_reconciliations(connection), await open_breaks(connection)
        except Exception as error:
            if not is_database_outage(error):
                raise
            return
        self._show_figures(latest)
        self._show_breaks(found, datetime.now(UTC))

    def _show_figures(self, latest: Iterable[Mapping[str, Any]]) -> None:
        self._external.clear()
        for one in latest:
            of = (one["mode"], one["currency"])
            self._last.labels(*of).set(datetime.fromisoformat(one["at"]).timestamp())
            self._requirement.labels(*of).set(one["requirement"])
            self._resource.labels(*of).set(one["resource"])
            self._external.labels(*of, one["external"]).set(1)

    def _show_breaks(self, found: Iterable[OpenBreaks], now: datetime) -> None:
        for gauge in (self._breaks, self._oldest):
            gauge.clear()
        for one in found:
            labels = (one.mode, one.currency, one.kind)
            self._breaks.labels(*labels).set(one.breaks)
            self._oldest.labels(*labels).set((now - one.oldest_at).total_seconds())
