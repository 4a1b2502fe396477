"""What Prometheus is told: requests, latencies, charges by status; `GET /metrics`."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import Scope

from api.documenting import streaming
from api.inbox_metrics import InboxMetrics
from api.safeguarding_metrics import SafeguardingMetrics
from api.watch_metrics import WatchMetrics

SECONDS_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)

router = APIRouter(tags=["operations"])


class HttpMetrics:
    """The counters of one application; its own registry, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ledgerline_http_requests",
            "Requests by route, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ledgerline_http_request_seconds",
            "Seconds from first byte to last.",
            ["route", "method"],
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._operations = Counter(
            "ledgerline_operations",
            "Operations answered, by kind and status.",
            ["kind", "status"],
            registry=self.registry,
        )
        self._replays = Counter(
            "ledgerline_idempotent_replays", "Answers that were replays, by kind.", ["kind"], registry=self.registry
        )

        self.watch = WatchMetrics(self.registry)
        self.safeguarding = SafeguardingMetrics(self.registry)
        self.inbox = InboxMetrics(self.registry)

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request under its route template, so that ids don't become labels."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if route != "unmatched" else "any"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def count_operation(self, document: dict[str, Any], *, replayed: bool) -> None:
        """Count one answered operation by its object and status; replays apart."""
        if replayed:
            self._replays.labels(document["object"]).inc()
        else:
            self._operations.labels(document["object"], document["status"]).inc()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    responses=streaming("text/plain", "Counters and histograms in the text format."),
)
async def read_metrics(request: Request) -> Response:
    """Return this application's metrics and those of everything else in the process."""
    metrics: HttpMetrics = request.app.state.core.metrics
    await metrics.watch.refresh(request.app.state.core.reads)
    await metrics.safeguarding.refresh(request.app.state.core.reads)
    await metrics.inbox.refresh(request.app.state.core.reads)
    body = generate_latest(metrics.registry) + generate_latest(REGISTRY)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})
