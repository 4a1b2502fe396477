"""What element 39 of an answer means for an order."""

import json
from pathlib import Path
from typing import Any

from domain.rail import DeclineClass, Outcome, RailAnswer

_TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "response_codes.json").read_text("utf-8"))
assert _TABLE["source"] and _TABLE["as_of"], "a table of codes names its source and date"

TAKEN_BACK = "reversed_unanswered"
"""Our own code: nobody answered, so the order was taken back, and the acquirer confirmed that."""


def answer_of_code(code: str | None, *, reference: str, latency_ms: float) -> RailAnswer:
    """Return what a response code says. One that nobody has looked at is a no that permits nothing.

    68 (the answer came too late for the switch) and 96 (a malfunction somewhere) prove nothing: UNKNOWN.
    """
    if code is None or code in _TABLE["unknown"]:
        return RailAnswer(
            outcome=Outcome.UNKNOWN, rail_reference=reference, latency_ms=latency_ms, detail=f"response code {code}"
        )
    if code in _TABLE["approved"]:
        return RailAnswer(outcome=Outcome.APPROVED, rail_reference=reference, latency_ms=latency_ms)
    known = _TABLE["declined"].get(code, {"code": f"response_{code.lower()}", "permits": "hard"})
    return RailAnswer(
        outcome=Outcome.DECLINED,
        decline_code=known["code"],
        decline_class=DeclineClass(known["permits"]),
        rail_reference=reference,
        latency_ms=latency_ms,
        detail=f"response code {code}",
    )


def is_not_located(code: str | None) -> bool:
    """Tell whether an answer to a reversal says that its original never came."""
    return code in _TABLE["not_located"]


def taken_back(reference: str, *, latency_ms: float = 0.0) -> RailAnswer:
    """Return the answer of an order that was taken back because nobody had answered it. It may be tried anew."""
    return RailAnswer(
        outcome=Outcome.DECLINED,
        decline_code=TAKEN_BACK,
        decline_class=DeclineClass.TRY_LATER,
        rail_reference=reference,
        latency_ms=latency_ms,
        detail="no answer came, and the reversal was confirmed",
    )
