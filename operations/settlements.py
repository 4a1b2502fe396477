"""Handing a settled line to the charge it settles: what reconciliation and the rails' inbox call."""

from temporalio.client import Client

from domain.identifiers import workflow_id
from domain.money import format_amount
from domain.settlement import Settlement
from operations.starting_once import start_once
from workflows.settlement import ChargeSettlementWorkflow, SettleCharge


def settlement_run_id(settlement: Settlement) -> str:
    """Return the id of the one run a settled line may have."""
    key = f"settlement:{settlement.rail}:{settlement.reference}:{settlement.charge_id}"
    return workflow_id(settlement.merchant_id, settlement.mode, key)


async def settle_charge(temporal: Client, settlement: Settlement) -> bool:
    """Have a charge settled; False if this line had been given before. Idempotent on rail, reference and charge.

    The run is durable once this returns; the charge follows a moment later (its own event says so).

    Raises:
        RPCError: Temporal is away. Retryable.
    """
    amount = format_amount(settlement.gross_minor, settlement.currency)
    return await start_once(
        temporal,
        ChargeSettlementWorkflow.run,
        SettleCharge(settlement=settlement),
        run_id=settlement_run_id(settlement),
        merchant_id=settlement.merchant_id,
        shown={
            "object": "settlement",
            "status": "received",
            "currency": settlement.currency,
            "amount": settlement.gross_minor,
        },
        summary=f"{amount} of {settlement.charge_id} settled by {settlement.rail} ({settlement.reference})",
    )
