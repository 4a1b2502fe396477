"""A charge that is settled to a payout: waits until the charge's money is final, then pays it out, once.

The payout is its own object with its own workflow, id, keys and events, all derived from the charge. A charge
that ends without money pays nothing out; a payout that fails leaves the money on the account.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from domain.charge import Charge, ChargeStatus
    from domain.identifiers import Mode, charge_payout_key, workflow_id
    from domain.ledger import KeyClaim, RecordKind
    from domain.money import format_amount
    from domain.payout import Payout
    from workflows import effects, policies, search_attributes
    from workflows.payout import PayoutWorkflow, StartPayout
    from workflows.ports import ReadObject

OVER_WITHOUT_MONEY = frozenset({ChargeStatus.DECLINED.value, ChargeStatus.VOIDED.value, ChargeStatus.EXPIRED.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartChargePayout:
    """What starts it: the charge as it stood, with what it is to pay out."""

    charge: Charge
    actor: str = "api"


@workflow.defn(name="ChargePayoutWorkflow")
class ChargePayoutWorkflow:
    """One run per charge that asks for a payout. It outlives the charge's own run."""

    @workflow.run
    async def run(self, start: StartChargePayout) -> dict[str, Any]:
        """Wait for the charge's settlement, start the payout and return its id, or why there is none."""
        for pause in settlement_pauses(start.charge.mode):
            stored = await effects.read_object(ReadObject(kind=RecordKind.CHARGE, id=start.charge.id))
            status = stored.document["status"]
            if status == ChargeStatus.SETTLED:
                return await self._pay(start, net_minor=stored.document["net"])
            if status in OVER_WITHOUT_MONEY:
                return {"object": "charge_payout", "payout": None, "reason": status}
            await workflow.sleep(pause)
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(start)
        raise AssertionError("the pauses have no end")

    async def _pay(self, start: StartChargePayout, *, net_minor: int) -> dict[str, Any]:
        """Start the payout's own run. Idempotent on the charge: its id exists once."""
        wanted = start.charge.payout
        assert wanted is not None
        amount_minor = net_minor if wanted.amount_minor is None else wanted.amount_minor
        if amount_minor <= 0:
            return {"object": "charge_payout", "payout": None, "reason": "nothing_left_after_fees"}
        payout = payout_of(start.charge, amount_minor=amount_minor)
        claim = KeyClaim(
            key=charge_payout_key(start.charge.id),
            fingerprint=start.charge.id,
            route=f"/v1/charges/{start.charge.id}",
            request={},
            object_kind="payout",
            object_id=payout.id,
            workflow_id=payout.workflow_id,
        )
        try:
            await workflow.start_child_workflow(
                PayoutWorkflow.run,
                StartPayout(payout=payout, claim=claim, actor=start.actor),
                id=payout.workflow_id,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=search_attributes.started_with(
                    merchant_id=payout.merchant_id,
                    kind="payout",
                    status=payout.status.value,
                    currency=payout.currency,
                    amount_minor=amount_minor,
                ),
                static_summary=f"{format_amount(amount_minor, payout.currency)} of {start.charge.id}",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s has been started before", payout.id)
        return {"object": "charge_payout", "payout": payout.id, "reason": None}


def payout_of(charge: Charge, *, amount_minor: int) -> Payout:
    """Return the payout of a settled charge."""
    wanted = charge.payout
    assert wanted is not None
    return Payout(
        id=wanted.id,
        merchant_id=charge.merchant_id,
        mode=charge.mode,
        amount_minor=amount_minor,
        currency=charge.currency,
        source=charge.account,
        destination=dict(wanted.destination),
        workflow_id=workflow_id(charge.merchant_id, charge.mode, charge_payout_key(charge.id)),
        created_at=workflow.now(),
        requested_rail=wanted.rail,
        metadata={"charge": charge.id},
    )


def settlement_pauses(mode: Mode) -> Iterator[timedelta]:
    """Yield the pauses between two looks at a charge that is not settled yet, without end."""
    pauses = policies.SETTLEMENT_LOOKS[mode]
    return chain(pauses, repeat(pauses[-1]))


async def start_charge_payout(charge: Charge, *, actor: str) -> None:
    """Start what pays the charge out, from the charge's own workflow; it outlives that."""
    await workflow.start_child_workflow(
        ChargePayoutWorkflow.run,
        StartChargePayout(charge=charge, actor=actor),
        id=workflow_id(charge.merchant_id, charge.mode, f"payout_wait:{charge.id}"),
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        search_attributes=search_attributes.started_with(
            merchant_id=charge.merchant_id,
            kind="charge_payout",
            status="waiting",
            currency=charge.currency,
            amount_minor=charge.amount_minor,
        ),
    )
