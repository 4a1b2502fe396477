"""What the sandbox's rails call back: chargebacks, in one signed JSON format for all five."""

import json
import re
from typing import Any

from domain.currencies import EXPONENTS
from domain.notices import CallbackUnreadableError, NoticeKind, RailNotice

_PRINTABLE = re.compile(r"[!-~]{1,200}")
AMOUNT_MINOR_MAX = 2**63 - 1


def read_notices(body: bytes, names: frozenset[str]) -> tuple[RailNotice, ...]:
    """Return the notices of a callback whose signature was checked; `names` are the rails it may speak for.

    Raises:
        CallbackUnreadableError: not JSON, not ours, or a field is missing. Retryable once we can read it.
    """
    try:
        told = json.loads(body)
    except ValueError as error:
        raise CallbackUnreadableError("the body is not JSON") from error
    if not isinstance(told, dict) or told.get("type") != "dispute.created":
        raise CallbackUnreadableError("the body is no notice of the sandbox")
    if told.get("rail") not in names:
        raise CallbackUnreadableError("the notice is of no rail of the sandbox")
    amount, currency, reason = told.get("amount"), told.get("currency"), told.get("reason")
    if type(amount) is not int or not 0 < amount <= AMOUNT_MINOR_MAX or currency not in EXPONENTS:
        raise CallbackUnreadableError("the notice has no amount")
    return (
        RailNotice(
            rail=told["rail"],
            event_id=_word(told, "id"),
            kind=NoticeKind.CHARGEBACK,
            rail_key=_word(told, "rail_key"),
            reference=_word(told, "reference"),
            amount_minor=amount,
            currency=currency,
            reason=reason[:500] if isinstance(reason, str) else None,
        ),
    )


def _word(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or _PRINTABLE.fullmatch(value) is None:
        raise CallbackUnreadableError(f"the notice has no {name}")
    return value
