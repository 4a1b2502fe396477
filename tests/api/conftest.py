"""The API over a real database, with fakes of the ports around it; and over everything real."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.service import RPCError, RPCStatusCode

from activities.webhook_secrets import CustodianWrapper, WebhookSecrets
from api.app import create_app
from api.fx_rates import RateFile
from api.merchants import create_api_key, create_merchant
from api.serve import open_app
from api.services import QuoteRequest, ScoreRequest, Services
from domain.identifiers import Mode
from domain.outcomes import OutcomeBoard
from domain.rail import RouteOption
from domain.risk import RiskAssessment, RiskDecision
from events.recovery import Recovery
from events.sealing import SecretSealer
from ledger.posting import Poster
from settings import Settings
from vault.custodian import FileCustodian
from worker import build_background_worker, build_worker

CALLBACK_SECRET = b"callback secret of the tests"


class UnreachableTemporal:
    """A Temporal client whose server is away; counts what it was asked to start."""

    def __init__(self) -> None:
        self.starts: list[str] = []

    async def start_workflow(self, *_: Any, id: str, **__: Any) -> None:
        """Refuse, as the SDK does when nobody listens."""
        self.starts.append(id)
        raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")


class OneRail:
    """A catalogue with one card rail and one payout rail."""

    def profiles(self) -> Sequence[Mapping[str, Any]]:
        """Return the two."""
        return [{"rail": "alpha", "flows": ["authorize", "refund"]}, {"rail": "sepa", "flows": ["payout"]}]


async def quote(request: QuoteRequest) -> Sequence[RouteOption]:
    """Rank the one rail."""
    option = RouteOption(
        rail="alpha",
        utility=-12.5,
        landed_cost_minor=12.5,
        approval_probability=0.93,
        settlement_seconds=86_400.0,
        reason="the only one",
    )
    return (option,)


async def score(request: ScoreRequest) -> RiskAssessment:
    """Allow everything."""
    return RiskAssessment(
        score=0.1, decision=RiskDecision.ALLOW, model_version="fake", reasons=(), step_up_at=0.65, block_at=0.9
    )


@dataclass
class Shop:
    """A merchant's client."""

    http: httpx.AsyncClient
    key: str
    merchant_id: str
    counter: int = field(default=0)

    async def post(self, path: str, body: Any = None, *, key: str | None = None, **extra: Any) -> httpx.Response:
        """POST JSON with a fresh idempotency key, or the one given."""
        self.counter += 1
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Idempotency-Key": key or f"{self.merchant_id}-{self.counter}-{secrets.token_hex(4)}",
            **extra.pop("headers", {}),
        }
        return await self.http.post(f"/v1{path}", json={} if body is None else body, headers=headers, **extra)

    async def send(self, method: str, path: str, **extra: Any) -> httpx.Response:
        """Any request with the merchant's key and nothing else."""
        headers = {"Authorization": f"Bearer {self.key}", **extra.pop("headers", {})}
        return await self.http.request(method, f"/v1{path}", headers=headers, **extra)

    async def get(self, path: str, **query: Any) -> Any:
        """The document at a path, which must be there."""
        answer = await self.send("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


def engine_of(url: str, connections: int = 6) -> AsyncEngine:
    """An engine on a libpq URL."""
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), pool_size=connections, max_overflow=0, pool_timeout=5
    )


@dataclass
class World:
    """An application, its fakes, and how to get merchants."""

    services: Services
    http: httpx.AsyncClient
    temporal: UnreachableTemporal

    async def shop(self, name: str = "Shop", mode: Mode = Mode.TEST) -> Shop:
        """A new merchant with a key."""
        async with self.services.key_admin.begin() as connection:
            merchant = await create_merchant(connection, name=name)
            key = await create_api_key(connection, merchant_id=merchant.id, mode=mode)
        assert key.secret is not None
        return Shop(self.http, key.secret, merchant.id)

    async def admin(self) -> Shop:
        """Whoever runs the installation."""
        async with self.services.key_admin.begin() as connection:
            key = await create_api_key(connection, merchant_id=None)
        assert key.secret is not None
        return Shop(self.http, key.secret, "")


def client_of(services: Services) -> httpx.AsyncClient:
    """A client that calls the application in this process."""
    transport = httpx.ASGITransport(app=create_app(services), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api.test", timeout=30)


@pytest.fixture
async def world(database: Any, tmp_path: Path) -> AsyncIterator[World]:
    """The API over a real database and a real poster; Temporal is away."""
    pool = AsyncConnectionPool(database.app_url, min_size=1, max_size=2, kwargs={"autocommit": True}, open=False)
    await pool.open()
    reads, key_admin = engine_of(database.api_url), engine_of(database.app_url, 2)
    poster = Poster(database.app_url)
    await poster.start()
    temporal = UnreachableTemporal()
    services = Services(
        temporal=temporal,  # type: ignore[arg-type]
        reads=reads,
        key_admin=key_admin,
        book=poster,
        board=OutcomeBoard(),
        rails=OneRail(),
        quote=quote,
        score=score,
        challenge_secret=b"challenge secret of the tests",
        public_url="http://api.test",
        secrets=WebhookSecrets(pool, SecretSealer(CustodianWrapper(FileCustodian(tmp_path / "webhook_keys.json")))),
        recovery=Recovery(pool),
        sync_budget_seconds=1.0,
        start_timeout_seconds=1.0,
        key_cache_seconds=0.3,
        fx_rates=RateFile(),
    )
    async with client_of(services) as http:
        yield World(services, http, temporal)
    await pool.close()
    await poster.stop()
    await reads.dispose()
    await key_admin.dispose()


@pytest.fixture
async def shop(world: World) -> Shop:
    """A merchant."""
    return await world.shop()


@contextlib.asynccontextmanager
async def opened_world(
    database: Any, temporal: Any, rails_url: str, home: Path, *, background: bool = False
) -> AsyncIterator[World]:
    """The API with its worker beside it, on a real Temporal server, database and rails.

    `home` may have rails.toml and reconciliation.toml. `background`: with the worker of that queue, without schedules.
    """
    (home / "secrets").mkdir(parents=True, mode=0o700)
    for name in ("callback_secret", "challenge_secret"):
        (home / "secrets" / name).write_bytes(CALLBACK_SECRET)
    settings = Settings(
        home=home,
        database_url=database.app_url,
        database_api_url=database.api_url,
        temporal_address=temporal.address,
        temporal_ui_url="http://ui.test",
        rails_url=rails_url,
        api_public_url="http://api.test",
        sync_budget_seconds=8.0,
    )
    async with contextlib.AsyncExitStack() as stack:
        app, parts = await stack.enter_async_context(open_app(settings))
        await stack.enter_async_context(build_worker(parts))
        if background:
            await stack.enter_async_context(build_background_worker(parts))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://api.test", timeout=30)
        )
        yield World(app.state.core.services, http, UnreachableTemporal())
        await asyncio.sleep(0)


@pytest.fixture
async def real_world(database: Any, temporal: Any, rails_sandbox: str, tmp_path: Path) -> AsyncIterator[World]:
    """The API with its worker beside it, on a real Temporal server, database and rails."""
    async with opened_world(database, temporal, rails_sandbox, tmp_path / "home") as opened:
        yield opened


@pytest.fixture
async def real_shop(real_world: World) -> Shop:
    """A merchant of the real world."""
    return await real_world.shop()
