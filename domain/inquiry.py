"""The evidence trail of an unknown outcome: who was asked what became of an order, and what was answered."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Witness(StrEnum):
    """Who gave an answer: the rail itself, or a person who looked into it."""

    RAIL = "rail"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One question about the order `rail_key` and its answer. Kept for ever, whatever came of the order.

    `asked_at` is RFC 3339. `by`: the rail's name, or the person's key. `answered` is an outcome.
    `evidence` is what a person based the finding on; empty for a rail's answer.
    """

    rail_key: str
    rail: str
    asked_at: str
    witness: Witness
    by: str
    answered: str
    detail: str = ""
    evidence: str = ""

    def __post_init__(self) -> None:
        assert self.witness is Witness.RAIL or self.evidence, "a person's finding comes with its evidence"


Inquiries = tuple[Inquiry, ...]


def unknown_document(inquiries: Inquiries) -> dict[str, Any] | None:
    """Return the member `unknown` of an object as the API shows it; None when nothing was ever asked."""
    if not inquiries:
        return None
    return {"inquiries": [_document(one) for one in inquiries]}


def _document(one: Inquiry) -> dict[str, str | None]:
    return {
        "asked_at": one.asked_at,
        "rail_key": one.rail_key,
        "rail": one.rail,
        "asked_of": one.witness.value,
        "by": one.by,
        "answered": one.answered,
        "detail": one.detail or None,
        "evidence": one.evidence or None,
    }
