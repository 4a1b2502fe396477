"""The process `ledgerline api`: the HTTP server and a worker on one event loop.

One loop is what makes eager start possible (the client that starts a workflow is the worker that runs
it) and lets the API answer at commit. Composition only; decides nothing about requests.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI, Request
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from activities.decision_facts import read_routing_policy
from activities.routes import RouteQuestion
from api.app import create_app
from api.codec import codec_router
from api.fx_rates import SANDBOX_RATES, RateFile
from api.services import QuoteRequest, ScoreRequest, Services
from audit.signing import AuditSigner
from domain.charge import Charge
from domain.rail import Flow, RouteOption
from domain.risk import RiskAssessment
from events.recovery import Recovery
from logs import configure_logging
from rails.adapter import profile_document
from rails.registry import Rails
from settings import Settings
from worker import Parts, files_of, open_parts, read_secret, running_workers, safeguarding_terms

_log = logging.getLogger("ledgerline.api")


class InstalledRails:
    """The rails of this process, as the API lists them."""

    def __init__(self, rails: Rails) -> None:
        self._rails = rails

    def profiles(self) -> Sequence[Mapping[str, Any]]:
        """Return one document per rail."""
        return [profile_document(profile) for profile in self._rails.all_profiles()]


class Previews:
    """Decisions that are not made: quotes and scores, from the parts that make the real ones."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def quote(self, request: QuoteRequest) -> Sequence[RouteOption]:
        """Return the route plan a charge would get. Reads only."""
        policy = await read_routing_policy(self._parts.pool, request.merchant_id, request.mode)
        return self._parts.router.rank(
            RouteQuestion(
                flow=Flow.AUTHORIZE,
                mode=request.mode,
                amount_minor=request.amount_minor,
                currency=request.currency,
                policy=policy,
                forced=request.rail,
            )
        )

    async def score(self, request: ScoreRequest) -> RiskAssessment:
        """Return what risk would say to a charge. Reads only."""
        return await self._parts.assessment.score(
            Charge(
                id="ch_preview",
                merchant_id=request.merchant_id,
                mode=request.mode,
                amount_minor=request.amount_minor,
                currency=request.currency,
                source=request.source,
                account="acct_preview",
                workflow_id="",
                created_at=datetime.now(UTC),
                customer=request.customer,
            )
        )


def engine_of(url: str, *, connections_max: int) -> AsyncEngine:
    """Return an engine on a libpq URL through psycopg, in autocommit: each read is one statement."""
    scheme, rest = url.split("://", 1)
    assert scheme in ("postgresql", "postgres")
    return create_async_engine(
        f"postgresql+psycopg://{rest}",
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=False,
    )


@contextlib.asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[tuple[FastAPI, Parts]]:
    """Open the parts and the application on them, and close everything in the reverse order."""
    assert settings.database_url and settings.database_api_url
    async with open_parts(settings) as parts:
        reads = engine_of(settings.database_api_url, connections_max=settings.database_connections_max)
        key_admin = engine_of(settings.database_url, connections_max=2)
        previews = Previews(parts)
        services = Services(
            temporal=parts.client,
            reads=reads,
            key_admin=key_admin,
            book=parts.poster,
            board=parts.board,
            rails=InstalledRails(parts.rails),
            quote=previews.quote,
            score=previews.score,
            inbox=parts.inbox,
            files=files_of(parts),
            challenge_secret=read_secret(settings.challenge_secret_path),
            public_url=settings.api_url,
            secrets=parts.webhook_secrets,
            recovery=Recovery(parts.pool),
            vault=parts.vault,
            codec_routes=codec_router(
                parts.codec,
                nobody,
                allowed_origins=[settings.temporal_ui_url] if settings.temporal_ui_url else [],
                loopback_suffices=settings.codec_for_loopback,
            ),
            sync_budget_seconds=settings.sync_budget_seconds,
            fx_rates=RateFile(
                settings.fx_rates_file or SANDBOX_RATES, age_max=timedelta(hours=settings.fx_rates_age_hours_max)
            ),
            fx_quote_seconds=settings.fx_quote_seconds,
            fx_spread_basis_points=settings.fx_spread_basis_points,
            temporal_ui_url=settings.temporal_ui_url,
            temporal_namespace=settings.temporal_namespace,
            safeguarding=safeguarding_terms(settings),
            signer=AuditSigner.open(settings.audit_key_path),
        )
        try:
            yield create_app(services), parts
        finally:
            await reads.dispose()
            await key_admin.dispose()


async def nobody(request: Request) -> bool:
    """Let nobody decode by credentials: on one machine loopback and the UI's origin decide."""
    return False


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT: requests drain first, then the worker, then connections close."""
    async with open_app(settings) as (app, parts), running_workers(parts):
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.api_host,
                port=settings.api_port,
                log_level="warning",
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=15,
                timeout_keep_alive=75,
                backlog=1024,
                lifespan="on",
            )
        )
        _log.info("serving on %s:%d", settings.api_host, settings.api_port)
        await server.serve()


def main(settings: Settings) -> None:
    """Serve, then leave at once: the SDK's threads abort a share of exits (sdk-python #300)."""
    configure_logging(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
