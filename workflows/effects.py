"""Asking for effects: each port method with its policy, on the fast path (local) or off it (regular).

Local activities run inside the workflow task and cost about 2 ms; regular ones cost the server 30-60 ms
but survive a worker for as long as it takes. All of them are idempotent, so either may run twice.
"""

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.ledger import Posting, PostingResult
    from domain.rail import RailAnswer, RailRequest
    from domain.webhooks import DeliverTo, DeliveryReport
    from workflows import policies
    from workflows.ports import (
        INQUIRY_SECONDS,
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
    from workflows.watch_ports import AskStop, StopPort


async def assess_charge(request: AssessCharge) -> AssessedCharge:
    """Score, route and write ahead a charge on the fast path."""
    return await workflow.execute_local_activity_method(
        AssessmentPort.assess_charge,
        request,
        start_to_close_timeout=policies.ASSESS_TIMEOUT,
        retry_policy=policies.RETRY_UNTIL_DONE,
    )


async def plan_payout(request: PlanPayout) -> RoutePlan:
    """Rank the rails for a payout on the fast path."""
    return await workflow.execute_local_activity_method(
        AssessmentPort.plan_payout,
        request,
        start_to_close_timeout=policies.ASSESS_TIMEOUT,
        retry_policy=policies.RETRY_UNTIL_DONE,
    )


async def post(posting: Posting) -> PostingResult:
    """Commit a posting on the fast path."""
    return await workflow.execute_local_activity_method(
        BookPort.post,
        posting,
        start_to_close_timeout=policies.POST_TIMEOUT,
        retry_policy=policies.RETRY_UNTIL_DONE,
    )


async def read_object(request: ReadObject) -> StoredObject:
    """Read an object back from the books."""
    return await workflow.execute_local_activity_method(
        RecordPort.read_object,
        request,
        start_to_close_timeout=policies.READ_TIMEOUT,
        retry_policy=policies.RETRY_UNTIL_DONE,
    )


async def read_fee_standing(request: ReadFeeStanding) -> FeeStanding:
    """Read how a charge stands with its fee."""
    return await workflow.execute_local_activity_method(
        RecordPort.read_fee_standing,
        request,
        start_to_close_timeout=policies.READ_TIMEOUT,
        retry_policy=policies.RETRY_UNTIL_DONE,
    )


async def attempt(request: RailRequest) -> RailAnswer:
    """Give an order to a rail: on the fast path, or off it where the rail says that it needs longer.

    A rail of its own pace is not called on the fast path at all; the same order is then given again, with
    the rail's deadline, as a regular activity that beats so that a dead worker is noticed early.
    """
    answer = await workflow.execute_local_activity_method(
        RailPort.attempt,
        request,
        start_to_close_timeout=policies.ATTEMPT_TIMEOUT,
        retry_policy=policies.RETRY_UNTIL_DONE,
    )
    if answer.pace is None or answer.pace.deadline_seconds <= request.deadline_seconds:
        return answer
    return await workflow.execute_activity_method(
        RailPort.attempt,
        replace(request, deadline_seconds=answer.pace.deadline_seconds),
        start_to_close_timeout=timedelta(seconds=answer.pace.deadline_seconds) + policies.SLOW_RAIL_MARGIN,
        heartbeat_timeout=policies.SLOW_RAIL_HEARTBEAT,
        retry_policy=policies.RETRY_UNTIL_DONE,
        summary=f"{request.flow} {request.rail_key} on {request.rail}",
    )


async def inquire(inquiry: RailInquiry) -> RailAnswer:
    """Ask a rail what became of an order, off the fast path."""
    return await workflow.execute_activity_method(
        RailPort.inquire,
        inquiry,
        start_to_close_timeout=timedelta(seconds=inquiry.deadline_seconds + 5),
        heartbeat_timeout=policies.SLOW_RAIL_HEARTBEAT if inquiry.deadline_seconds > INQUIRY_SECONDS else None,
        retry_policy=policies.RETRY_UNTIL_DONE,
        summary=f"what became of {inquiry.rail_key} on {inquiry.rail}?",
    )


async def payouts_stopped(stop: AskStop) -> bool:
    """Tell whether payouts of a currency are stopped, off the fast path."""
    return await workflow.execute_activity_method(
        StopPort.payouts_stopped,
        stop,
        start_to_close_timeout=timedelta(seconds=10),
        retry_policy=policies.RETRY_UNTIL_DONE,
        summary=f"are payouts in {stop.currency} stopped?",
    )


async def deliver_webhooks(to: DeliverTo) -> DeliveryReport:
    """Run one round of delivery on whichever background worker is free."""
    return await workflow.execute_activity_method(
        WebhookPort.deliver_webhooks,
        to,
        start_to_close_timeout=policies.WEBHOOK_ROUND_TIMEOUT,
        heartbeat_timeout=policies.WEBHOOK_HEARTBEAT_TIMEOUT,
        retry_policy=policies.RETRY_UNTIL_DONE,
    )
