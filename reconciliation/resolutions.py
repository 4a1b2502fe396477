"""How an exception may be closed, and the facts about money that closing it states. Pure.

`accept`: no money moves. `write_off`: the difference becomes the rail's cost. `credit_account`: money nobody was
credited with goes to an account. What a kind allows depends on where its money stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from domain.drift_facts import DriftCredited, Pot, RailAdjusted
from domain.facts import Fact
from domain.reconciliation import DriftKind

Document = Mapping[str, Any]
Action = Literal["accept", "write_off", "credit_account"]

_ALL: tuple[Action, ...] = ("accept", "write_off", "credit_account")
ACTIONS: Mapping[str, tuple[Action, ...]] = {
    **{kind.value: _ALL for kind in DriftKind},
    "settlement_differs": _ALL,
    "contradicting_notice": _ALL,
    "rail_notice": _ALL,
    "money_in_suspense": ("write_off", "credit_account"),
}
"""What a person may decide, by kind of exception. Outcomes, orphans and stops are closed in their own ways."""


class ResolutionRefusedError(Exception):
    """The exception cannot be closed like this; nothing moved. Not retryable. `param` names what is wrong."""

    def __init__(self, code: str, detail: str, param: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A person's decision. `amount_minor`: what the rail's side has more (or less) than the books, None: as stated."""

    action: Action
    account: str | None = None
    amount_minor: int | None = None


def check_resolution(exception: Document, wanted: Resolution) -> None:
    """Let a decision pass that this exception allows.

    Raises:
        ResolutionRefusedError: not retryable.
    """
    allowed = ACTIONS.get(exception["kind"], ())
    if wanted.action not in allowed:
        offered = ", ".join(allowed) or "none of these actions"
        raise ResolutionRefusedError("action_not_possible", f"A {exception['kind']} takes {offered}.", "action")
    if (wanted.action == "credit_account") != (wanted.account is not None):
        raise ResolutionRefusedError(
            "account_invalid", "`credit_account`, and nothing else, names an account.", "account"
        )
    if wanted.action == "accept" and wanted.amount_minor is not None:
        raise ResolutionRefusedError("amount_invalid", "Accepting moves no money.", "amount")


def facts_of(exception: Document, wanted: Resolution) -> tuple[Fact, ...]:
    """Return what the decision says about money; none for `accept`.

    Raises:
        ResolutionRefusedError: it does not fit the exception. Not retryable.
    """
    check_resolution(exception, wanted)
    if wanted.action == "accept":
        return ()
    amount = _amount(exception, wanted)
    source = _source(exception)
    if wanted.action == "write_off":
        if source is Pot.BANK or not exception.get("rail"):
            raise ResolutionRefusedError("action_not_possible", "No rail is named whose cost it could be.", "action")
        return (
            RailAdjusted(
                drift_id=exception["id"],
                rail=exception["rail"],
                amount_minor=amount,
                currency=exception["currency"],
                from_suspense=source is Pot.SUSPENSE,
            ),
        )
    if amount <= 0:
        detail = "The rail's side does not have more than the books, so there is nothing to credit."
        raise ResolutionRefusedError("amount_must_be_positive", detail, "amount")
    assert wanted.account is not None
    return (
        DriftCredited(
            drift_id=exception["id"],
            account=wanted.account,
            source=source,
            party=exception["bank"] if source is Pot.BANK else exception.get("rail") or "",
            amount_minor=amount,
            currency=exception["currency"],
        ),
    )


def _source(exception: Document) -> Pot:
    if exception["kind"] == "money_in_suspense":
        return Pot.SUSPENSE
    return Pot.BANK if exception.get("bank") and not exception.get("rail") else Pot.RAIL


def _amount(exception: Document, wanted: Resolution) -> int:
    """Return the signed amount that moves: never beyond what the exception is about."""
    if not exception.get("currency"):
        raise ResolutionRefusedError("action_not_possible", "The exception states no money.", "action")
    stated = _stated(exception)
    amount = wanted.amount_minor if wanted.amount_minor is not None else stated
    if amount is None:
        detail = "The exception states no difference: name the `amount` that the rail's side has more, or less."
        raise ResolutionRefusedError("amount_required", detail, "amount")
    most = abs(stated or exception.get("amount") or 0)
    if amount == 0 or abs(amount) > most or (stated and (amount < 0) != (stated < 0)):
        raise ResolutionRefusedError("amount_invalid", f"`amount` is within the {most} it is about.", "amount")
    return amount


def _stated(exception: Document) -> int | None:
    if exception["kind"] != "money_in_suspense":
        return exception.get("difference")
    # Money of a lost or escalated dispute left suspense; all other money came to it.
    won = exception["id"].endswith("_dispute_won") or exception.get("notice") == "dispute.won"
    taken = exception["subject"].startswith("dp_") and not won
    amount: int = exception.get("amount_in_suspense") or exception["amount"]
    return -amount if taken else amount
