"""Every workflow a worker runs, by queue; names are wire contracts."""

from typing import Any

from workflows.charge import ChargeWorkflow
from workflows.dispute import DisputeWorkflow
from workflows.orphan import OrphanWorkflow
from workflows.payout import PayoutWorkflow
from workflows.refund import RefundWorkflow
from workflows.transfer import TransferWorkflow

PAYMENT_WORKFLOWS = (ChargeWorkflow, RefundWorkflow, PayoutWorkflow, TransferWorkflow, DisputeWorkflow, OrphanWorkflow)
BACKGROUND_WORKFLOWS: tuple[type[Any], ...] = ()
