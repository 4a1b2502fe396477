"""An orphan: money a rail took or promised for a charge that had ended without it (semantics rule 10).

It is held as an exception until its outcome closes it, so people see it where they look for such things.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode, workflow_id
from domain.inquiry import Inquiries, unknown_document
from domain.money import check_amount, format_amount
from domain.rail import Flow
from domain.timestamps import rfc3339

REVERSAL_MARK = ".orphan-"
"""What names the orders that give an orphan back, after its charge."""


class OrphanStatus(StrEnum):
    """OPEN: the money is not back yet. RESOLVED: it is."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """The whole state of an orphan. `amount_minor` in minor units of `currency`.

    `rail_key` is the order of ours it stems from, `effect_key` the rail's key of what it did: another one
    where the rail did the order twice. `flow` is the order's. `taken`: money was taken (a sale or a capture), not
    only promised. `stuck`: the rail refused to give it back; a person must look.
    """

    merchant_id: str
    mode: Mode
    charge: str
    rail: str
    rail_key: str
    effect_key: str
    flow: Flow
    taken: bool
    amount_minor: int
    currency: str
    original_rail_key: str
    created_at: datetime
    status: OrphanStatus = OrphanStatus.OPEN
    version: int = 0
    reversal_key: str | None = None
    stuck: str | None = None
    next_check_at: datetime | None = None
    inquiries: Inquiries = ()

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        assert self.flow in (Flow.AUTHORIZE, Flow.CAPTURE)
        assert self.taken or self.flow is Flow.AUTHORIZE, "a capture takes money"

    @property
    def id(self) -> str:
        """The exception it is held as; derived from the rail's key, so that it exists once."""
        return orphan_id(self.effect_key)

    @property
    def workflow_id(self) -> str:
        """The id of the one workflow that gives it back."""
        return workflow_id(self.merchant_id, self.mode, f"orphan:{self.rail}:{self.effect_key}")

    @property
    def reversal_operation(self) -> str:
        """The operation id of giving it back: its attempts are numbered after this."""
        return f"{self.charge}{REVERSAL_MARK}{self.id.removeprefix('exc_orphan_')}"

    @property
    def reversal_flow(self) -> Flow:
        """Return how a rail gives it back: taken money is refunded, a promise is voided."""
        return Flow.REFUND if self.taken else Flow.VOID


def orphan_id(effect_key: str) -> str:
    """Return the id of the exception of an orphaned effect: `ch_1:1` gives `exc_orphan_ch_1_1`."""
    return f"exc_orphan_{re.sub('[^a-z0-9]', '_', effect_key.lower())}"


def orphan_of_order(order: str) -> str:
    """Return the id of the orphan that a rail's order would be, or gives back.

    `ch_1:1` and `ch_1.orphan-ch_1_1:1` give `exc_orphan_ch_1_1`. Whether there is one is another question.
    """
    _, gives_back, name = order.rpartition(":")[0].partition(REVERSAL_MARK)
    return f"exc_orphan_{name}" if gives_back else orphan_id(order)


def orphan_document(orphan: Orphan) -> dict[str, Any]:
    """Return the exception as the API and its events show it."""
    did = "took" if orphan.taken else "promised"
    shown = format_amount(orphan.amount_minor, orphan.currency)
    detail = f"{orphan.rail} {did} {shown} for {orphan.charge}, which had ended without it."
    if orphan.status is OrphanStatus.RESOLVED:
        detail += " It was given back."
    elif orphan.stuck is not None:
        detail += f" The rail refuses to give it back: {orphan.stuck}."
    document: dict[str, Any] = {
        "id": orphan.id,
        "object": "exception",
        "kind": "orphan",
        "status": orphan.status.value,
        "subject": orphan.charge,
        "rail": orphan.rail,
        "rail_key": orphan.rail_key,
        "detail": detail,
        "since": rfc3339(orphan.created_at),
        "amount": orphan.amount_minor,
        "currency": orphan.currency,
        "orphan": {
            "effect_key": orphan.effect_key,
            "taken": orphan.taken,
            "reversal": orphan.reversal_flow.value,
            "reversal_key": orphan.reversal_key,
            "refused": orphan.stuck,
        },
        "next_check_at": rfc3339(orphan.next_check_at),
        "workflow_id": orphan.workflow_id,
    }
    unknown = unknown_document(orphan.inquiries)
    return document if unknown is None else {**document, "unknown": unknown}
