"""Every effect a workflow may ask for: the catalogue of side effects.

`activities/` implements each port exactly once. Activity names are wire contracts: histories of
running workflows refer to them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from temporalio import activity

from domain.charge import Charge
from domain.ledger import KeyClaim, Posting, PostingResult, RecordKind
from domain.payout import Payout
from domain.rail import Flow, RailAnswer, RailRequest, RouteOption
from domain.webhooks import DeliverTo, DeliveryReport

INQUIRY_SECONDS = 5.0
"""How long a rail may take to answer a question, where it has no pace of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessCharge:
    """A charge to score, route and write ahead, with the claim of its idempotency key."""

    charge: Charge
    claim: KeyClaim
    actor: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessedCharge:
    """The charge with risk, route and, where it may proceed, its first attempt (committed).

    `fee_basis_points` and `fee_fixed_minor` are the price of charges assessed before prices were kept on
    the charge itself (`charge.pricing`). `resumed`: an earlier run
    had already committed this assessment, so the attempt may have been sent.
    `authorization_seconds`: how long an authorization may wait for its capture.
    `key_taken_by`: the key belongs to another object; nothing was written and the run must end.
    `tries_left`: how many attempts the card's scheme lets be declined before it may not be tried any more.
    `authorization_windows`: seconds by rail, where it differs from `authorization_seconds`.
    `start_abandoned`: the client was told that this start came to nothing, so it must.
    `final_on_approval`: the rails of the route whose money is final with their approval.
    """

    charge: Charge
    fee_basis_points: int = 0
    fee_fixed_minor: int = 0
    attempts_max: int = 3
    authorization_seconds: int = 604_800
    resumed: bool = False
    key_taken_by: str | None = None
    start_abandoned: bool = False
    tries_left: int | None = None
    authorization_windows: dict[str, int] = field(default_factory=dict)
    final_on_approval: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPayout:
    """A payout whose rails are to be ranked."""

    payout: Payout


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePlan:
    """Ranked rails, best first; empty when no rail can do it."""

    options: tuple[RouteOption, ...]
    attempts_max: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RailInquiry:
    """A question about an earlier order: what became of `rail_key`, sent at `sent_at`?"""

    rail: str
    flow: Flow
    rail_key: str
    sent_at: datetime
    mode: str
    deadline_seconds: float = INQUIRY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadObject:
    """An object to read back from the books."""

    kind: RecordKind
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as stored: its version and what the API shows of it."""

    version: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFeeStanding:
    """A refund whose share of its charge's fee is to be settled."""

    refund_id: str
    charge_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeStanding:
    """What a charge's fee return is computed from, all read at one instant; amounts in minor units.

    `refunded_minor`: of its refunds that succeeded. `returned_minor`: of the fee so far, `sequence` times changed.
    """

    refund: StoredObject
    policy: str
    fee_minor: int
    captured_minor: int
    refunded_minor: int
    returned_minor: int
    sequence: int


class AssessmentPort(ABC):
    """Deciding: risk, routes, and the write-ahead of the decision."""

    @abstractmethod
    @activity.defn(name="assess_charge")
    async def assess_charge(self, request: AssessCharge) -> AssessedCharge:
        """Score, route and write ahead a charge.

        Idempotent on the charge's id: a re-run returns the committed assessment, never a new one.
        """

    @abstractmethod
    @activity.defn(name="plan_payout")
    async def plan_payout(self, request: PlanPayout) -> RoutePlan:
        """Return the ranked rails for a payout; once it is committed, the plan it was committed with. Reads only."""


class RailPort(ABC):
    """Talking to rails."""

    @abstractmethod
    @activity.defn(name="attempt")
    async def attempt(self, request: RailRequest) -> RailAnswer:
        """Give one order to one rail under its deadline.

        Idempotent on `rail_key`. Every failure of the rail is an answer, never an exception. An order whose
        deadline is shorter than the rail's pace is not given: the answer is NOT_ATTEMPTED with that pace.
        """

    @abstractmethod
    @activity.defn(name="inquire")
    async def inquire(self, request: RailInquiry) -> RailAnswer:
        """Ask a rail what became of an order. Reads only at the rail; UNKNOWN while it can't tell."""


class NoticePort(ABC):
    """Hearing what rails tell by themselves."""

    @abstractmethod
    @activity.defn(name="collect_rail_notices")
    async def collect_rail_notices(self) -> int:
        """Fetch what rails don't send (files, blocks) into the inbox; return how many notices were new. Idempotent."""

    @abstractmethod
    @activity.defn(name="deliver_rail_notices")
    async def deliver_rail_notices(self) -> int:
        """Bring each notice that is due to the workflow of its order; return how many were looked at. Idempotent."""


class BookPort(ABC):
    """Writing: the one door through which workflows change the books."""

    @abstractmethod
    @activity.defn(name="post")
    async def post(self, posting: Posting) -> PostingResult:
        """Commit a posting in one SERIALIZABLE transaction. Idempotent on its key.

        A refusal is a result. Lost connections and serialization failures are retryable errors.
        """


class LedgerPeriodPort(ABC):
    """Looking after how the ledger grows."""

    @abstractmethod
    @activity.defn(name="extend_ledger_periods")
    async def extend_ledger_periods(self) -> int:
        """Make the partitions that are missing ahead of time; return how many. Idempotent.

        Fails, and is retried, while somebody reads the books for longer than half a second.
        """


class WebhookPort(ABC):
    """Sending events to the merchants' endpoints."""

    @abstractmethod
    @activity.defn(name="deliver_webhooks")
    async def deliver_webhooks(self, to: DeliverTo) -> DeliveryReport:
        """Send an endpoint what it has not had yet, for a minute at most. Heartbeats.

        At least once: run again after a crash it repeats what had not been stored. Idempotent otherwise.
        """


class RecordPort(ABC):
    """Reading back what was committed."""

    @abstractmethod
    @activity.defn(name="read_object")
    async def read_object(self, request: ReadObject) -> StoredObject:
        """Return an object as it is stored now. Reads only.

        Raises:
            LookupError: there is no such object: whoever asks was told of one that exists. Retryable.
        """

    @abstractmethod
    @activity.defn(name="read_fee_standing")
    async def read_fee_standing(self, request: ReadFeeStanding) -> FeeStanding:
        """Return how a refund's charge stands with its fee. One statement, reads only.

        Raises:
            LookupError: there is no such refund. Retryable.
        """
