"""Every workflow a worker runs, by queue; names are wire contracts."""

from typing import Any

from workflows.charge import ChargeWorkflow
from workflows.charge_payout import ChargePayoutWorkflow
from workflows.dispute import DisputeWorkflow
from workflows.ledger_periods import LedgerPeriodsWorkflow
from workflows.orphan import OrphanWorkflow
from workflows.payout import PayoutWorkflow
from workflows.rail_inbox import RailInboxWorkflow
from workflows.rail_notice import RailNoticeWorkflow
from workflows.reconciliation import ReconciliationWorkflow, ResumeFilesWorkflow
from workflows.refund import RefundWorkflow
from workflows.safeguarding import SafeguardingDaysWorkflow, SafeguardingWorkflow
from workflows.settlement import ChargeSettlementWorkflow
from workflows.transfer import TransferWorkflow
from workflows.watch import DeliverAlertsWorkflow, ProveBooksWorkflow, WatchBooksWorkflow
from workflows.webhook_delivery import WebhookDeliveryWorkflow

PAYMENT_WORKFLOWS = (
    ChargeWorkflow,
    RefundWorkflow,
    PayoutWorkflow,
    TransferWorkflow,
    DisputeWorkflow,
    RailNoticeWorkflow,
    ChargeSettlementWorkflow,
    OrphanWorkflow,
    ChargePayoutWorkflow,
)
BACKGROUND_WORKFLOWS: tuple[type[Any], ...] = (
    LedgerPeriodsWorkflow,
    RailInboxWorkflow,
    WebhookDeliveryWorkflow,
    WatchBooksWorkflow,
    ProveBooksWorkflow,
    DeliverAlertsWorkflow,
    ReconciliationWorkflow,
    ResumeFilesWorkflow,
    SafeguardingDaysWorkflow,
    SafeguardingWorkflow,
)
