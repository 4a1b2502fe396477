"""Fakes of the three ports: a book in memory, rails that follow a script, an assessment that always allows."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio import activity

from domain.identifiers import Mode
from domain.ledger import AuditDraft, Posting, PostingResult, RecordKind, Refusal, RefusalCode
from domain.rail import Attempt, DeclineClass, Outcome, RailAnswer, RailRequest, RouteOption
from domain.risk import RiskAssessment, RiskDecision
from domain.webhooks import DeliverTo, DeliveryReport
from workflows.failover import new_attempt
from workflows.ports import (
    AssessCharge,
    AssessedCharge,
    AssessmentPort,
    BookPort,
    FeeStanding,
    PlanPayout,
    RailInquiry,
    RailPort,
    ReadFeeStanding,
    ReadObject,
    RecordPort,
    RoutePlan,
    StoredObject,
    WebhookPort,
)
from workflows.postings import attempt_record
from workflows.watch_ports import AskStop, StopPort

RAILS = ("alpha", "beta", "gamma")

Script = Callable[[RailRequest, int], RailAnswer]
InquiryScript = Callable[[RailInquiry, int], RailAnswer]


def approve(request: RailRequest, call: int) -> RailAnswer:
    """Say yes at once, with final funds."""
    return RailAnswer(outcome=Outcome.APPROVED, final_funds=True, latency_ms=1.0)


def decline(decline_class: DeclineClass, code: str = "do_not_honor") -> RailAnswer:
    """A definite no of a class."""
    return RailAnswer(outcome=Outcome.DECLINED, decline_class=decline_class, decline_code=code, latency_ms=1.0)


UNKNOWN = RailAnswer(outcome=Outcome.UNKNOWN, detail="read timeout")
NOT_ATTEMPTED = RailAnswer(outcome=Outcome.NOT_ATTEMPTED, detail="connection refused")


class FakeBook(BookPort):
    """Remembers postings by key and documents by id; refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.postings: dict[str, Posting] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.refuse: Callable[[Posting], Refusal | None] = lambda posting: None

    @activity.defn(name="post")
    async def post(self, posting: Posting) -> PostingResult:
        known = self.postings.get(posting.key)
        if known is not None:
            if [record.document["status"] for record in known.records] != [
                record.document["status"] for record in posting.records
            ]:
                refusal = Refusal(code=RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, detail="posted otherwise")
                documents = self._documents_of(posting)
                versions = {name: self.version_of(name) for name in documents}
                return PostingResult(refusal=refusal, documents=documents, versions=versions)
            return PostingResult(duplicate=True, documents=self._documents_of(posting))
        refusal_given = self.refuse(posting)
        if refusal_given is not None:
            return PostingResult(refusal=refusal_given)
        self.postings[posting.key] = posting
        for record in posting.records:
            self.documents[record.id] = record.document
        return PostingResult(documents=self._documents_of(posting))

    def _documents_of(self, posting: Posting) -> dict[str, dict[str, Any]]:
        return {record.id: self.documents[record.id] for record in posting.records if record.id in self.documents}

    def version_of(self, object_id: str) -> int:
        """The latest version posted of an object."""
        records = (record for posting in self.postings.values() for record in posting.records)
        return max(record.version for record in records if record.id == object_id)

    def facts(self) -> list[str]:
        """Names of the facts posted, in order."""
        return [fact.fact for posting in self.postings.values() for fact in posting.facts]

    def events(self) -> list[str]:
        """Types of the events emitted, in order."""
        return [event.type for posting in self.postings.values() for event in posting.events]

    def write_ahead_keys(self) -> list[str]:
        """Rail keys of attempts that were written ahead, in order."""
        return [
            record.id
            for posting in self.postings.values()
            for record in posting.records
            if record.document.get("outcome") == "sent"
        ]


@dataclass
class FakeRecords(RecordPort):
    """Reads back what the fake book holds."""

    book: FakeBook

    @activity.defn(name="read_object")
    async def read_object(self, request: ReadObject) -> StoredObject:
        return StoredObject(version=self.book.version_of(request.id), document=self.book.documents[request.id])

    @activity.defn(name="read_fee_standing")
    async def read_fee_standing(self, request: ReadFeeStanding) -> FeeStanding:
        refund = await self.read_object(ReadObject(kind=RecordKind.REFUND, id=request.refund_id))
        refunds = [one for one in self.book.documents.values() if one.get("charge") == request.charge_id]
        return FeeStanding(
            refund=refund,
            policy=str(refund.document["fee_policy"]),
            fee_minor=158,
            captured_minor=8420,
            refunded_minor=sum(one["amount"] for one in refunds if one["status"] == "succeeded"),
            returned_minor=sum(one["fee_returned"] for one in refunds),
            sequence=max(one.get("fee_return_sequence", 0) for one in refunds),
        )


@dataclass
class FakeStop(StopPort):
    """A stop of payouts that holds for so many questions."""

    questions_left: int = 0

    @activity.defn(name="payouts_stopped")
    async def payouts_stopped(self, request: AskStop) -> bool:
        self.questions_left -= 1
        return self.questions_left >= 0


@dataclass
class FakeRails(RailPort):
    """Answers by script and remembers every order and question."""

    book: FakeBook
    script: Script = approve
    inquiry_script: InquiryScript = lambda inquiry, call: UNKNOWN
    orders: list[RailRequest] = field(default_factory=list)
    questions: list[RailInquiry] = field(default_factory=list)

    @activity.defn(name="attempt")
    async def attempt(self, request: RailRequest) -> RailAnswer:
        assert request.rail_key in self.book.write_ahead_keys(), "an order goes out only after its row"
        self.orders.append(request)
        return self.script(request, len(self.orders))

    @activity.defn(name="inquire")
    async def inquire(self, request: RailInquiry) -> RailAnswer:
        self.questions.append(request)
        return self.inquiry_script(request, len(self.questions))


@dataclass
class FakeAssessment(AssessmentPort):
    """Decides what it is told to decide, routes over three rails, writes the first attempt ahead."""

    book: FakeBook
    decision: RiskDecision = RiskDecision.ALLOW
    authorization_seconds: int = 604_800
    tries_left: int | None = None
    final_on_approval: tuple[str, ...] = ()

    @activity.defn(name="assess_charge")
    async def assess_charge(self, request: AssessCharge) -> AssessedCharge:
        risk = RiskAssessment(
            score=0.1, decision=self.decision, model_version="m", reasons=(), step_up_at=0.65, block_at=0.9
        )
        charge = replace(request.charge, risk=risk, route=route(), version=1)
        if self.decision is RiskDecision.ALLOW and self.tries_left != 0:
            first: Attempt = replace(
                new_attempt(charge, "alpha", reason="ranked first"), requested_at=charge.created_at
            )
            charge = replace(charge, attempts=(first,))
            self.book.postings.setdefault(f"{charge.id}:1", ahead(charge.id, charge.merchant_id, first))
        return AssessedCharge(
            charge=charge,
            fee_basis_points=140,
            fee_fixed_minor=40,
            authorization_seconds=self.authorization_seconds,
            tries_left=self.tries_left,
            final_on_approval=self.final_on_approval,
        )

    @activity.defn(name="plan_payout")
    async def plan_payout(self, request: PlanPayout) -> RoutePlan:
        return RoutePlan(options=route())


@dataclass
class FakeWebhooks(WebhookPort):
    """Rounds of delivery that come to what is scripted: seconds to wait, None to be woken; then the endpoint ends."""

    waits: list[float | None] = field(default_factory=list)
    rounds: int = 0

    @activity.defn(name="deliver_webhooks")
    async def deliver_webhooks(self, to: DeliverTo) -> DeliveryReport:
        self.rounds += 1
        if not self.waits:
            return DeliveryReport(sent=0, succeeded=0, sequence=self.rounds, ended=True)
        return DeliveryReport(sent=1, succeeded=1, sequence=self.rounds, wait_seconds=self.waits.pop(0))


def route() -> tuple[RouteOption, ...]:
    """Three rails, alpha first."""
    return tuple(
        RouteOption(
            rail=rail, utility=-float(rank), landed_cost_minor=10.0, approval_probability=0.9, settlement_seconds=1.0
        )
        for rank, rail in enumerate(RAILS)
    )


def ahead(charge_id: str, merchant_id: str, attempt: Attempt) -> Posting:
    """The posting that an assessment commits."""
    return Posting(
        key=f"{charge_id}:1",
        merchant_id=merchant_id,
        mode=Mode.TEST,
        audit=AuditDraft(actor="test", action="charge.created", object_id=charge_id),
        records=(attempt_record(attempt),),
    )
