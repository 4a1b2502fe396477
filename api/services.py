"""What the API needs from the rest of the core, as protocols; `api/app.py` is handed one `Services`.

The API imports neither rails nor risk nor the poster: whoever composes the process passes them in.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from domain.book import BookWriter
from domain.fx import RateSource
from domain.identifiers import Mode
from domain.inbound import InboundReceipt
from domain.ledger import KeyClaim
from domain.outcomes import OutcomeBoard
from domain.rail import RouteOption
from domain.reconciliation import FileOffer
from domain.risk import RiskAssessment
from events.recovery import Recovery
from operations.resolution_pack import ManifestSigner
from operations.safeguarding import SafeguardingTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRequest:
    """A charge that is not made: which rails would it be sent to, in which order, and why."""

    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    source: str | None = None
    rail: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A charge that is not made: what would risk say to it?"""

    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    source: str
    customer: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class RailCatalogue(Protocol):
    """The rails this installation can reach."""

    def profiles(self) -> Sequence[Mapping[str, Any]]:
        """Return one JSON-able document per rail; `rail` is its name, `flows` what it can do."""
        ...


class RailInbox(Protocol):
    """Takes what rails tell by themselves."""

    async def receive(self, rail: str, headers: Mapping[str, str], body: bytes) -> Sequence[InboundReceipt]:
        """Take a rail's callback: what it tells is durable on return. Idempotent on the rail's event ids.

        Raises:
            LookupError: no rail of this name calls back. Not retryable.
            CallbackRefusedError, CallbackUnreadableError: it is not signed, or not understood. Not retryable.
        """
        ...


class ReceivedFile(Protocol):
    """What became of a file that came in."""

    @property
    def file_id(self) -> str:
        """The file's id, which follows from its content."""
        ...

    @property
    def new(self) -> bool:
        """Whether these bytes had not come before."""
        ...

    @property
    def key_taken(self) -> bool:
        """Whether the idempotency key belongs to another request; then nothing was stored."""
        ...


class FileIntake(Protocol):
    """Takes files of rails and banks."""

    async def take(self, offer: FileOffer, claim: KeyClaim | None = None) -> ReceivedFile:
        """Store a file and have it reconciled; durable on return. Idempotent on its content.

        Raises:
            FileRefusedError: it is not whole, or cannot be read. Not retryable.
        """
        ...


class QuoteRoute(Protocol):
    """Ranks the rails for a charge without making it."""

    def __call__(self, request: QuoteRequest) -> Awaitable[Sequence[RouteOption]]:
        """Return the route plan, best rail first. Reads only."""
        ...


class ScoreRisk(Protocol):
    """Scores a charge without making it."""

    def __call__(self, request: ScoreRequest) -> Awaitable[RiskAssessment]:
        """Return the assessment under the merchant's own policy. Reads only."""
        ...


class EndpointSecrets(Protocol):
    """Makes signing secrets of webhook endpoints; what is stored of them is sealed."""

    def issue(self, endpoint_id: str, kinds: Sequence[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Return what is shown of new secrets, this once, and how they are stored."""
        ...

    def rotate(
        self, endpoint_id: str, version: int, kinds: Sequence[str], overlap_seconds: int
    ) -> Awaitable[tuple[dict[str, str], list[dict[str, Any]]] | None]:
        """Return new secrets, stored before the old ones, which end after the overlap; None at another version."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the API is composed of.

    `reads` connects as `ledgerline_api` (row level security), `key_admin` as a role that may write
    merchants and API keys; both through psycopg. `challenge_secret` signs the sandbox's
    challenge pages. `secrets` seals what signs webhooks, `recovery` has them sent again.
    Without an `inbox` no rail is listened to, without `files` none are taken. `vault` is what `vault/route.py` serves.
    Without `fx_rates` no exchange is quoted. Without a `signer` resolution packs are not signed.
    """

    temporal: Client
    reads: AsyncEngine
    key_admin: AsyncEngine
    book: BookWriter
    board: OutcomeBoard
    rails: RailCatalogue
    quote: QuoteRoute
    score: ScoreRisk
    challenge_secret: bytes
    public_url: str
    secrets: EndpointSecrets
    recovery: Recovery
    inbox: RailInbox | None = None
    files: FileIntake | None = None
    vault: Any = None
    codec_routes: APIRouter | None = None
    sync_budget_seconds: float = 10.0
    start_timeout_seconds: float = 5.0
    key_cache_seconds: float = 30.0
    fx_rates: RateSource | None = None
    fx_quote_seconds: float = 60.0
    fx_spread_basis_points: int = 25
    temporal_ui_url: str | None = None
    temporal_namespace: str = "default"
    safeguarding: SafeguardingTerms = field(default_factory=SafeguardingTerms)
    signer: ManifestSigner | None = None
