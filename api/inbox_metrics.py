"""What Prometheus is told of the rails' inbox: what waits, and how long. Read from the database when it asks."""

from prometheus_client import CollectorRegistry, Gauge

from api.errors import is_database_outage
from api.reading import EVERYTHING, Reads, Row, Statement

_OF = ("rail", "status")

# What is due again is what is not through: `operations/notice_store.py` ends a notice by taking its `due_at`.
_WAITING = Statement(
    "SELECT rail, status, count(*) AS notices,"
    " greatest(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::float8 AS oldest_seconds"
    " FROM rail_notices WHERE due_at IS NOT NULL GROUP BY rail, status"
)


class InboxMetrics:
    """Gauges of one application. While the database is away they keep their last values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, says: str) -> Gauge:
            return Gauge(f"ledgerline_rail_inbox_{name}", says, _OF, registry=registry)

        self._waiting = gauge("notices_waiting", "Notices of rails that are stored and not through.")
        self._oldest = gauge("oldest_notice_seconds", "Age of the oldest of them.")

    async def refresh(self, reads: Reads) -> None:
        """Read the gauges' values."""
        try:
            (rows,) = await reads.rows(EVERYTHING, _WAITING)
        except Exception as error:
            if not is_database_outage(error):
                raise
            return
        self._show(rows)

    def _show(self, rows: list[Row]) -> None:
        for gauge in (self._waiting, self._oldest):
            gauge.clear()
        for row in rows:
            labels = (row["rail"], row["status"])
            self._waiting.labels(*labels).set(row["notices"])
            self._oldest.labels(*labels).set(row["oldest_seconds"])
