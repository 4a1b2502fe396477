"""The auditor of events sees each kind of wrong: a stream that is right, then one thing changed at a time."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.event_audit import event_findings

Stream = list[dict[str, Any]]


def _stream() -> Stream:
    told = (
        ("ch_1", "charge", "charge.created", "processing"),
        ("re_1", "refund", "refund.succeeded", "succeeded"),
        ("ch_1", "charge", "charge.unknown", "unknown"),
        ("ch_1", "charge", "charge.settled", "settled"),
        ("re_1", "refund", "refund.failed", "failed"),
    )
    return [
        {
            "id": f"evt_{number}",
            "sequence": number,
            "previous_sequence": number - 1,
            "type": kind,
            "data": {"object": {"id": name, "object": sort, "status": status, "amount": 500}},
        }
        for number, (name, sort, kind, status) in enumerate(told, 1)
    ]


def _objects() -> dict[str, dict[str, Any]]:
    charge = {"id": "ch_1", "object": "charge", "status": "settled", "amount": 500}
    return {"ch_1": charge, "re_1": {**charge, "id": "re_1", "object": "refund", "status": "failed"}}


def test_a_stream_that_is_right() -> None:
    assert event_findings(_stream(), _objects()) == []


def _drop(stream: Stream, objects: dict[str, Any]) -> None:
    del stream[1]


def _swap(stream: Stream, objects: dict[str, Any]) -> None:
    stream[2]["data"], stream[3]["data"] = stream[3]["data"], stream[2]["data"]


def _forget_the_end(stream: Stream, objects: dict[str, Any]) -> None:
    del stream[-1]


def _other_amount(stream: Stream, objects: dict[str, Any]) -> None:
    objects["ch_1"]["amount"] = 501


def _untold(stream: Stream, objects: dict[str, Any]) -> None:
    objects["ch_2"] = {"id": "ch_2", "object": "charge", "status": "settled"}


def _vanished(stream: Stream, objects: dict[str, Any]) -> None:
    del objects["ch_1"]


def _twice(stream: Stream, objects: dict[str, Any]) -> None:
    stream[1]["id"] = stream[0]["id"]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (_drop, "sequence 3 after 2, but comes after 1"),
        (_swap, "ch_1 went from settled to unknown"),
        (_forget_the_end, "re_1 has status 'failed', its last event says 'succeeded'"),
        (_other_amount, "ch_1 has amount 501"),
        (_untold, "ch_2 exists, but no event tells of it"),
        (_vanished, "events tell of ch_1, which is nowhere"),
        (_twice, "evt_1 is there twice"),
    ],
)
def test_one_thing_wrong(change: Callable[[Stream, dict[str, Any]], None], finding: str) -> None:
    stream, objects = copy.deepcopy(_stream()), _objects()
    change(stream, objects)
    found = event_findings(stream, objects)
    assert any(finding in one for one in found), found
