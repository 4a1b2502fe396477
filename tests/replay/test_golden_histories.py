"""Every recorded history replays against today's workflows, in the sandbox; names on the wire are a snapshot."""

import json
import re
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.replay.scenarios import RETIRED, SCENARIOS
from workflows import ports, reconciliation_ports, safeguarding_ports, search_attributes, watch_ports
from workflows.registry import BACKGROUND_WORKFLOWS, PAYMENT_WORKFLOWS
from workflows.versions import PATCHES

HISTORIES = Path(__file__).parent / "histories"
WORKFLOWS = (*PAYMENT_WORKFLOWS, *BACKGROUND_WORKFLOWS)
PORTS = (
    *(ports.AssessmentPort, ports.RailPort, ports.NoticePort, ports.BookPort, ports.RecordPort, ports.WebhookPort),
    *(ports.LedgerPeriodPort, watch_ports.WatchPort, watch_ports.StopPort, safeguarding_ports.SafeguardingPort),
    reconciliation_ports.ReconciliationPort,
)
RECORDED = sorted(HISTORIES.rglob("*.json"))


def test_every_scenario_is_recorded() -> None:
    recorded = {f"{path.parent.name}_{path.stem}" for path in RECORDED}
    assert recorded == set(SCENARIOS) | set(RETIRED)


def test_every_workflow_has_a_history() -> None:
    """A new workflow comes with a scenario: `python -m tests.replay.record` makes its history."""
    started = [json.loads(path.read_text())["events"][0] for path in RECORDED]
    recorded = {event["workflowExecutionStartedEventAttributes"]["workflowType"]["name"] for event in started}
    assert recorded == {getattr(one, "__temporal_workflow_definition").name for one in WORKFLOWS}


def test_histories_name_no_machine() -> None:
    """No process, host or path of where they were recorded; a stack trace would hold paths."""
    for path in RECORDED:
        text = path.read_text()
        assert set(re.findall(r'"identity": "([^"]*)"', text)) == {"recorder"}, path
        assert not re.search(r'stackTrace|"\d+@|/(home|root|tmp|work|usr|Users)/', text), path


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_history_replays(path: Path) -> None:
    history = WorkflowHistory.from_json(f"golden/{path.stem}", path.read_text())  # noqa: ASYNC240
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)
    await replayer.replay_workflow(history)


async def test_a_history_that_was_tampered_with_does_not_replay() -> None:
    history = json.loads((HISTORIES / "charge" / "settled.json").read_text())
    for event in history["events"]:
        marker = event.get("markerRecordedEventAttributes")
        if marker is not None:
            header = marker["details"]["data"]["payloads"][0]
            header["data"] = header["data"][:-8] + "AAAAAAA="
            break
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)
    with pytest.raises(Exception):  # noqa: B017 - whatever the SDK calls it, it must not pass
        await replayer.replay_workflow(WorkflowHistory.from_json("golden/settled", json.dumps(history)))


def test_names_on_the_wire_are_a_snapshot() -> None:
    activities = sorted(
        getattr(method, "__temporal_activity_definition").name
        for port in PORTS
        for method in vars(port).values()
        if hasattr(method, "__temporal_activity_definition")
    )
    definitions = [getattr(one, "__temporal_workflow_definition") for one in WORKFLOWS]
    assert activities == [
        *("assess_charge", "attempt", "close_file", "collect_rail_notices", "deliver_alerts"),
        *("deliver_rail_notices", "deliver_webhooks", "extend_ledger_periods", "inquire", "match_lines"),
        *("payouts_stopped", "plan_payout", "post", "prove_books", "read_fee_standing", "read_object"),
        *("reconcile_safeguarding", "resume_files", "safeguarding_due", "watch_books"),
    ]
    assert {one.name: sorted(filter(None, one.updates)) for one in definitions} == {
        "ChargeWorkflow": ["authenticate", "capture", "resolve", "void"],
        "RefundWorkflow": ["cancel", "resolve"],
        "PayoutWorkflow": ["resolve"],
        "TransferWorkflow": ["post", "void"],
        "DisputeWorkflow": ["submit_evidence"],
        "RailNoticeWorkflow": [],
        "ChargeSettlementWorkflow": [],
        "OrphanWorkflow": ["void_orphan"],
        "ChargePayoutWorkflow": [],
        "RailInboxWorkflow": [],
        "LedgerPeriodsWorkflow": [],
        "WebhookDeliveryWorkflow": [],
        "WatchBooksWorkflow": [],
        "ProveBooksWorkflow": [],
        "DeliverAlertsWorkflow": [],
        "ReconciliationWorkflow": [],
        "ResumeFilesWorkflow": [],
        "SafeguardingDaysWorkflow": [],
        "SafeguardingWorkflow": [],
    }
    assert {one.name: sorted(filter(None, one.signals)) for one in definitions if one.signals} == {
        "ChargeWorkflow": ["rail_told"],
        "RefundWorkflow": ["funds_arrived", "rail_told"],
        "PayoutWorkflow": ["rail_told"],
        "OrphanWorkflow": ["rail_told"],
        "DisputeWorkflow": ["rail_told", "told"],
        "WebhookDeliveryWorkflow": ["wake"],
    }
    assert set(PATCHES) == {"dispute-lifecycle", "ask-on-after-finding", "failover-time"}
    assert [key.name for key in search_attributes.ALL_KEYS] == [
        "LedgerlineMerchant",
        "LedgerlineKind",
        "LedgerlineStatus",
        "LedgerlineRail",
        "LedgerlineCurrency",
        "LedgerlineAmountMinor",
        "LedgerlineRiskDecision",
    ]
