"""What each order came to: it was answered, or it is taken back, and never both.

Whichever is written first stands, whoever writes it: a late answer and a reversal may race in two processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from domain.rail import DeclineClass, Outcome, RailAnswer
from rails.adapters.iso8583.orders import Order
from rails.records import RailRecords

State = Literal["answered", "reversing", "reversed", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`answered` with the acquirer's answer; `reversing` with the reversal's own number and time, until it is
    `reversed`, or it turns out that the order `never` came.
    """

    state: State
    answer: RailAnswer | None = None
    auth_code: str | None = None
    stan: str | None = None
    sent_at: str | None = None


class Verdicts:
    """The verdicts of one rail's orders."""

    def __init__(self, records: RailRecords, rail: str) -> None:
        self._records = records
        self._rail = rail

    async def find(self, rail_key: str) -> Verdict | None:
        """Return an order's verdict, None while there is none."""
        found = await self._records.find(self._rail, _key(rail_key))
        return None if found is None else _verdict(found)

    async def answered(self, order: Order, answer: RailAnswer, *, auth_code: str | None) -> Verdict:
        """Keep a definite answer, and return what stands: maybe that the order is being taken back."""
        document = {
            "state": "answered",
            "outcome": answer.outcome.value,
            "decline_code": answer.decline_code,
            "decline_class": answer.decline_class.value if answer.decline_class else None,
            "reference": answer.rail_reference,
            "auth_code": auth_code,
        }
        return _verdict(await self._records.add(self._rail, _key(order.rail_key), document))

    async def reversing(self, order: Order, *, stan: str, sent_at: str) -> Verdict:
        """Decide to take an order back, and return what stands: maybe an answer that was faster."""
        document = {"state": "reversing", "stan": stan, "sent_at": sent_at, "rail_key": order.rail_key}
        return _verdict(await self._records.add(self._rail, _key(order.rail_key), document))

    async def end(self, order: Order, state: Literal["reversed", "never"]) -> None:
        """Write down that an order that was being taken back is no more. Idempotent."""
        await self._records.replace(self._rail, _key(order.rail_key), {"state": state, "rail_key": order.rail_key})

    async def open_reversals(self) -> list[str]:
        """Return the rail keys of orders whose reversal is not confirmed, the oldest first."""
        found = await self._records.search(self._rail, {"state": "reversing"})
        return [str(document["rail_key"]) for _, document in found]


def _key(rail_key: str) -> str:
    return f"{rail_key}/verdict"


def _verdict(document: Mapping[str, Any]) -> Verdict:
    state: State = document["state"]
    if state != "answered":
        return Verdict(state=state, stan=document.get("stan"), sent_at=document.get("sent_at"))
    decline_class = document["decline_class"]
    answer = RailAnswer(
        outcome=Outcome(document["outcome"]),
        decline_code=document["decline_code"],
        decline_class=DeclineClass(decline_class) if decline_class else None,
        rail_reference=document["reference"],
        latency_ms=0.0,
    )
    return Verdict(state=state, answer=answer, auth_code=document["auth_code"])
