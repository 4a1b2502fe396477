"""The API put together: services in, one ASGI application out. Decides nothing else."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import (
    account_changes,
    accounts,
    administration,
    audit,
    callbacks,
    challenge,
    charges,
    disputes,
    documenting,
    events,
    exceptions,
    fx,
    health,
    ledger,
    metrics,
    operations,
    payout_stops,
    payouts,
    pricing,
    rails,
    reconciliation_files,
    refunds,
    risk,
    route_reports,
    routing,
    safeguarding,
    safeguarding_breaks,
    safeguarding_pack,
    statements,
    transfer_changes,
    transfers,
    webhook_deliveries,
    webhook_endpoints,
)
from api.authentication import KeyDirectory, require_merchant
from api.context import Core
from api.errors import Problem, install_errors
from api.event_documentation import webhooks
from api.metrics import HttpMetrics
from api.middleware import Edge
from api.reading import Reads
from api.services import Services
from api.starting import Flights
from vault.route import create_router

VERSION = "0.1.0"
ROUTES = (
    charges,
    refunds,
    payouts,
    statements,
    transfer_changes,
    transfers,
    account_changes,
    fx,
    accounts,
    disputes,
    route_reports,
    routing,
    risk,
    pricing,
    rails,
    webhook_deliveries,
    webhook_endpoints,
    callbacks,
    events,
    audit,
    ledger,
    payout_stops,
    operations,
    exceptions,
    reconciliation_files,
    safeguarding,
    safeguarding_breaks,
    safeguarding_pack,
    administration,
    health,
    metrics,
    challenge,
)


def create_app(services: Services) -> FastAPI:
    """Return the application over the given services; it starts and stops nothing itself."""
    reads = Reads(services.reads)
    core = Core(
        services=services,
        reads=reads,
        keys=KeyDirectory(reads, services.key_cache_seconds),
        flights=Flights(services, reads),
        metrics=HttpMetrics(),
    )
    app = FastAPI(title="Ledgerline", version=VERSION, description="A payments core.", redoc_url=None)
    app.state.core = core
    install_errors(app)
    app.add_middleware(Edge, metrics=core.metrics)
    for room in ROUTES:
        app.include_router(room.router)
    if services.vault is not None:
        app.include_router(create_router(services.vault, principal=require_merchant, problem=Problem))
    if services.codec_routes is not None:
        app.include_router(services.codec_routes)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the models that routes read and render by hand."""
    if app.openapi_schema is None:
        told = webhooks()
        app.openapi_schema = documenting.complete(
            get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        )
        app.openapi_schema["webhooks"] = told
    return app.openapi_schema
