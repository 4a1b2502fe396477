"""What events must say: without gaps, each object's in the order of its life, the last one what the object is now.

The lives are this module's own reading of the semantics; it shares no code with the core.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = dict[str, Any]
BEGIN = "(nothing)"

_FINDS_OUT = {"settled", "captured", "authorized", "declined"}
LIVES: dict[str, dict[str, set[str]]] = {
    "charge": {
        BEGIN: {"processing", "requires_action", "declined"},
        "processing": {"requires_action", "unknown", *_FINDS_OUT},
        "requires_action": {"processing", "unknown", *_FINDS_OUT},
        "unknown": {"requires_action", "processing", *_FINDS_OUT},
        "authorized": {"captured", "settled", "voided", "expired"},
        "captured": {"settled"},
    },
    "refund": {
        BEGIN: {"processing", "pending", "unknown", "succeeded", "failed"},
        "processing": {"pending", "unknown", "succeeded", "failed"},
        "pending": {"unknown", "succeeded", "failed"},
        "unknown": {"pending", "processing", "succeeded", "failed"},
        "succeeded": {"failed"},
    },
    "payout": {
        BEGIN: {"processing", "failed"},
        "processing": {"unknown", "paid", "failed"},
        "unknown": {"processing", "paid", "failed"},
        "paid": {"returned"},
    },
    "transfer": {
        BEGIN: {"processing", "pending", "settled", "failed"},
        "processing": {"pending", "settled", "failed"},
        "pending": {"settled", "voided", "expired"},
    },
    "dispute": {
        BEGIN: {"needs_response", "warning_needs_response", "under_review", "lost"},
        "warning_needs_response": {"warning_under_review", "warning_closed", "needs_response"},
        "warning_under_review": {"warning_closed", "needs_response"},
        "needs_response": {"under_review", "won", "lost"},
        "under_review": {"won", "lost"},
    },
}
"""From status to status; staying in one is always right (a part captured, a rail asked again)."""

COMPARED = ("status", "amount", "currency", "amount_captured", "fee", "account", "charge", "source")
"""Fields in which the last event must agree with the object; what only an event-less inquiry changes is not one."""


def event_findings(events: Sequence[Document], documents: Mapping[str, Document]) -> list[str]:
    """Return everything that is wrong with a merchant's whole event stream, given the objects as they are now."""
    found = list(_gaps(events))
    lives: dict[str, list[Document]] = defaultdict(list)
    for event in events:
        lives[event["data"]["object"]["id"]].append(event)
    for name, document in documents.items():
        if name not in lives:
            found.append(f"{name} exists, but no event tells of it")
            continue
        found += _life_findings(name, lives[name], document)
    for name, life in lives.items():
        if life[0]["data"]["object"]["object"] in LIVES and name not in documents:
            found.append(f"events tell of {name}, which is nowhere to be found")
    return found


def _gaps(events: Sequence[Document]) -> Iterable[str]:
    before = 0
    names = set()
    for event in events:
        if (event["sequence"], event["previous_sequence"]) != (before + 1, before):
            said = f"{event['sequence']} after {event['previous_sequence']}"
            yield f"event {event['id']} has sequence {said}, but comes after {before}"
        if event["id"] in names:
            yield f"event {event['id']} is there twice"
        names.add(event["id"])
        before = event["sequence"]


def _life_findings(name: str, life: Sequence[Document], document: Document) -> Iterable[str]:
    kind = document["object"]
    before = BEGIN
    for event in life:
        status = event["data"]["object"]["status"]
        if status != before and status not in LIVES[kind].get(before, set()):
            yield f"{name} went from {before} to {status} with {event['type']} (event {event['sequence']})"
        before = status
    last = life[-1]["data"]["object"]
    for field in COMPARED:
        if field in last and field in document and last[field] != document[field]:
            yield f"{name} has {field} {document[field]!r}, its last event says {last[field]!r}"
