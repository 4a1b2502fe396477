"""A workflow's history as a story: what was decided, which rail was asked, what was posted.

Decides what of a history is worth a line. Reads decoded payloads only; card data is never in them.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadCodec

from domain.money import format_amount

LOCAL_ACTIVITY_MARKER = "core_local_activity"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One line of the story: when, what kind of step, and what it came to."""

    at: datetime
    kind: str
    text: str


async def tell_timeline(history: WorkflowHistory, codec: PayloadCodec) -> list[TimelineStep]:
    """Return the story of a run in the order of its history."""
    scheduled: dict[int, str] = {}
    steps: list[TimelineStep] = []
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        at = _instant(event)
        steps += [
            TimelineStep(at=at, kind=kind, text=text) async for kind, text in _tell_event(event, scheduled, codec)
        ]
    return steps


def _instant(event: HistoryEvent) -> datetime:
    """Return when an event happened; of a local activity, when it was asked for, not when it was recorded."""
    marker = event.marker_recorded_event_attributes
    if marker.marker_name == LOCAL_ACTIVITY_MARKER:
        asked = json.loads(marker.details["data"].payloads[0].data).get("original_schedule_time")
        if asked:
            return datetime.fromtimestamp(asked["seconds"] + asked.get("nanos", 0) / 1e9, tz=UTC)
    return event.event_time.ToDatetime(tzinfo=UTC)


async def _tell_event(
    event: HistoryEvent, scheduled: dict[int, str], codec: PayloadCodec
) -> AsyncIterator[tuple[str, str]]:
    kind = event.event_type
    if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        started = event.workflow_execution_started_event_attributes
        request = await _first_value(started.input.payloads, codec)
        yield "start", f"{started.workflow_type.name}: {_tell_request(request)}"
    elif kind == EventType.EVENT_TYPE_MARKER_RECORDED:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name == LOCAL_ACTIVITY_MARKER:
            header = json.loads(marker.details["data"].payloads[0].data)
            result = await _first_value(marker.details["result"].payloads, codec)
            for line in _tell_result(header["activity_type"], result):
                yield header["activity_type"], line
    elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
        completed = event.activity_task_completed_event_attributes
        name = scheduled.get(completed.scheduled_event_id, "activity")
        for line in _tell_result(name, await _first_value(completed.result.payloads, codec)):
            yield name, line
    elif kind == EventType.EVENT_TYPE_TIMER_STARTED:
        seconds = event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
        yield "wait", f"for at most {seconds:g} s"
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
        update = event.workflow_execution_update_accepted_event_attributes.accepted_request.input.name
        yield "update", f"{update} accepted"
    elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
        yield "stopped", event.workflow_task_failed_event_attributes.failure.message or "a workflow task failed"
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        result = await _first_value(event.workflow_execution_completed_event_attributes.result.payloads, codec)
        yield "end", f"{result.get('id', result.get('object'))} {result.get('status', '')}".strip()


async def _first_value(payloads: Any, codec: PayloadCodec) -> dict[str, Any]:
    """Return the first payload decoded from JSON, or an empty object for none."""
    found: list[Payload] = list(payloads)
    if not found:
        return {}
    decoded = (await codec.decode(found[:1]))[0]
    value = json.loads(decoded.data) if decoded.data else {}
    return value if isinstance(value, dict) else {"value": value}


def _tell_request(request: dict[str, Any]) -> str:
    kinds = ("charge", "refund", "payout", "transfer", "dispute")
    subject: dict[str, Any] = next((request[kind] for kind in kinds if kind in request), {})
    amount = format_amount(subject["amount_minor"], subject["currency"]) if "amount_minor" in subject else ""
    key = request.get("claim", {}).get("key", "")
    return f"{subject.get('id', '')} {amount} key {key}".strip()


def _tell_result(activity: str, result: dict[str, Any]) -> Iterator[str]:
    if activity == "assess_charge":
        yield from _tell_assessment(result)
    elif activity == "post":
        yield from _tell_posting(result)
    elif activity in ("attempt", "inquire"):
        decline = f" {result['decline_code']} ({result['decline_class']})" if result.get("decline_code") else ""
        took = f" in {result['latency_ms']:.1f} ms" if result.get("latency_ms") else ""
        yield f"{result.get('outcome')}{decline}{took} {result.get('detail') or ''}".strip()
    elif activity == "plan_payout":
        yield "route " + " > ".join(option["rail"] for option in result.get("options", []))


def _tell_assessment(result: dict[str, Any]) -> Iterator[str]:
    if result.get("key_taken_by"):
        yield f"the key belongs to {result['key_taken_by']}"
        return
    charge = result["charge"]
    risk = charge.get("risk") or {}
    yield f"risk {risk.get('score')} -> {risk.get('decision')} (model {risk.get('model_version')})"
    for rank, option in enumerate(charge.get("route", []), start=1):
        yield f"route {rank}. {option['rail']}: utility {option['utility']:.2f}. {option['reason']}"
    for attempt in charge.get("attempts", []):
        yield f"written ahead: attempt {attempt['rail_key']} on {attempt['rail']}"


def _tell_posting(result: dict[str, Any]) -> Iterator[str]:
    refusal = result.get("refusal")
    if refusal:
        yield f"refused: {refusal['code']} ({refusal['detail']})"
        return
    for document in result.get("documents", {}).values():
        if document.get("object") in ("charge", "refund", "payout", "transfer", "dispute", "exception"):
            yield f"{document['id']} is {document['status']}" + (" (was already)" if result.get("duplicate") else "")
        elif "rail_key" in document:
            yield f"attempt {document['rail_key']} on {document['rail']}: {document['outcome']}"
    for entry in result.get("entries", []):
        yield f"{entry['direction']} {entry['account']} {entry['amount_minor']} -> balance {entry['balance_minor']}"
