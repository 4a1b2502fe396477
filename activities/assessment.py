"""Deciding: one read, risk, routes, and one write-ahead commit; a re-run returns what was committed."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from psycopg_pool import AsyncConnectionPool
from pydantic import TypeAdapter
from temporalio import activity

from activities.decision_facts import DecisionFacts, read_decision_facts, read_routing_policy
from activities.routes import RouteQuestion, Router
from activities.stored_attempts import stored_route
from domain.book import BookWriter
from domain.charge import Charge
from domain.identifiers import Mode
from domain.ledger import Posting, PostingResult, RefusalCode
from domain.outcomes import OutcomeBoard
from domain.pricing import decided_pricing
from domain.rail import Flow
from domain.risk import RiskAssessment, RiskDecision, RiskPolicy
from domain.sandbox import is_sandbox_token, is_scripted_token
from rails.authorization_windows import authorization_seconds
from rails.scheme_limits import tries_left
from risk.assess import assess
from risk.features import RiskFacts
from risk.model import RiskModel
from workflows.failover import may_try, new_attempt
from workflows.ports import AssessCharge, AssessedCharge, AssessmentPort, PlanPayout, RoutePlan
from workflows.postings import charge_posting

_ASSESSED: TypeAdapter[AssessedCharge] = TypeAdapter(AssessedCharge)


class AssessmentActivities(AssessmentPort):
    """The assessment port over the books, the risk model and the router."""

    def __init__(
        self,
        *,
        pool: AsyncConnectionPool,
        book: BookWriter,
        board: OutcomeBoard,
        model: RiskModel | None,
        router: Router,
    ) -> None:
        self._pool = pool
        self._book = book
        self._board = board
        self._model = model
        self._router = router

    @activity.defn(name="assess_charge")
    async def assess_charge(self, request: AssessCharge) -> AssessedCharge:
        """Score, route and write ahead a charge. Idempotent on its id; see `AssessmentPort.assess_charge`."""
        facts = await read_decision_facts(self._pool, request.charge)
        if facts.assessed is not None:
            return replace(_ASSESSED.validate_python(facts.assessed), resumed=True)
        assessed = self._decide(request.charge, facts)
        result = await self._book.post(self._write_ahead(assessed, request))
        return await self._committed(request, assessed, result)

    @activity.defn(name="plan_payout")
    async def plan_payout(self, request: PlanPayout) -> RoutePlan:
        """Rank the rails for a payout. See `AssessmentPort.plan_payout`."""
        payout = request.payout
        policy = await read_routing_policy(self._pool, payout.merchant_id, payout.mode)
        committed = await stored_route(self._pool, payout.id)
        if committed is not None:
            # An earlier run of this task set the money on its way by this plan: it is resumed, never made anew.
            return RoutePlan(options=committed, attempts_max=policy.attempts_max)
        question = RouteQuestion(
            flow=Flow.PAYOUT,
            mode=payout.mode,
            amount_minor=payout.amount_minor,
            currency=payout.currency,
            policy=policy,
            forced=payout.requested_rail,
            destination=payout.destination.get("type"),
        )
        options = self._router.rank(question)
        return RoutePlan(options=options, attempts_max=policy.attempts_max)

    async def score(self, charge: Charge) -> RiskAssessment:
        """Return what risk would say to a charge, without making it. Reads only."""
        facts = await read_decision_facts(self._pool, charge)
        return self._assess_risk(charge, facts)

    def _decide(self, charge: Charge, facts: DecisionFacts) -> AssessedCharge:
        risk = self._assess_risk(charge, facts)
        policy = facts.routing
        sandboxed = charge.mode is Mode.TEST and is_sandbox_token(charge.source)
        known = sandboxed or facts.card_fingerprint is not None
        scripted = sandboxed and is_scripted_token(charge.source)
        question = RouteQuestion(
            flow=Flow.AUTHORIZE,
            mode=charge.mode,
            amount_minor=charge.amount_minor,
            currency=charge.currency,
            policy=policy,
            forced=charge.requested_rail,
            brand=facts.brand,
            country=facts.bin_country,
            order_id=None if scripted else charge.id,
        )
        route = self._router.rank(question) if known else ()
        costs = {option.rail: round(option.landed_cost_minor) for option in route}
        pricing = decided_pricing(facts.pricing, charge.currency, facts.month_volume_minor, facts.month, costs)
        # A scripted token is no evidence of how well a rail does, so it has no segment to count it in.
        segment = {"brand": facts.brand or "", "country": facts.bin_country or "", "band": question.segment.band}
        charge = replace(
            charge,
            risk=risk,
            route=route,
            card_fingerprint=facts.card_fingerprint,
            segment=None if scripted else segment,
            pricing=pricing,
            version=1,
        )
        left = tries_left(facts.brand, facts.decline_ages_seconds)
        if risk.decision is RiskDecision.ALLOW and route and may_try(charge, left):
            attempt = new_attempt(charge, route[0].rail, reason=route[0].reason)
            charge = replace(charge, attempts=(replace(attempt, requested_at=datetime.now(UTC)),))
        return AssessedCharge(
            charge=charge,
            attempts_max=policy.attempts_max,
            tries_left=left,
            authorization_windows={option.rail: authorization_seconds(option.rail, facts.brand) for option in route},
            final_on_approval=self._router.final_on_approval(route),
        )

    def _assess_risk(self, charge: Charge, facts: DecisionFacts) -> RiskAssessment:
        policy: RiskPolicy = facts.risk
        # Test cards are shared instruments, charged hundreds of times a minute: only live cards have velocity.
        counted = charge.mode is Mode.LIVE
        return assess(
            self._model,
            RiskFacts(
                source=charge.source,
                mode=charge.mode,
                amount_minor=charge.amount_minor,
                currency=charge.currency,
                requested_at=charge.created_at,
                bin_country=facts.bin_country,
                brand=facts.brand,
                token_age_seconds=facts.token_age_seconds,
                attempts_10_minutes=facts.attempts_10_minutes if counted else 0,
                attempts_24_hours=facts.attempts_24_hours if counted else 0,
                declines_24_hours=facts.declines_24_hours if counted else 0,
            ),
            policy,
        )

    def _write_ahead(self, assessed: AssessedCharge, request: AssessCharge) -> Posting:
        charge = assessed.charge
        internal: dict[str, Any] = {"assessed": _ASSESSED.dump_python(assessed, mode="json")}
        return charge_posting(
            charge,
            event="charge.created",
            attempts=charge.attempts,
            claim=request.claim,
            actor=request.actor,
            internal=internal,
        )

    async def _committed(
        self, request: AssessCharge, assessed: AssessedCharge, result: PostingResult
    ) -> AssessedCharge:
        refusal = result.refusal
        if refusal is not None and refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            document = {"object": "superseded", "key_taken_by": refusal.object_id}
            workflow_id = activity.info().workflow_id
            assert workflow_id is not None
            self._board.announce(workflow_id, document)
            return AssessedCharge(charge=request.charge, key_taken_by=refusal.object_id)
        if result.duplicate or (refusal is not None and refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS):
            # Another run of this task committed between our read and our write: its decision stands.
            facts = await read_decision_facts(self._pool, request.charge)
            if facts.assessed is None:
                return AssessedCharge(charge=request.charge, start_abandoned=True)
            return replace(_ASSESSED.validate_python(facts.assessed), resumed=True)
        assert refusal is None, refusal
        return assessed
