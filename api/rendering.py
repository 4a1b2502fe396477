"""How documents leave: one order of fields, compact JSON, the status that fits the outcome.

PostgreSQL's jsonb forgets the order of fields; giving every document the same order makes a replay
byte for byte equal to the first answer.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from api.errors import RETRY_AFTER_SECONDS, Problem
from domain.ledger import RefusalCode

Document = dict[str, Any]

_FIRST = """
    id object number sequence previous_sequence type status amount amount_captured amount_refunded currency fee net
    decision score rail account direction balance source destination outcome capture customer description entries
    fx_quote exchange sell_currency sell_amount buy_currency buy_amount fixed_side rate mid_rate spread_basis_points
    rate_source rate_as_of transfer expires_at
    risk model_version reasons attempts route utility landed_cost approval_probability settlement_seconds
    next_action next_check_at capture_before decline_code decline_class failure_code failure_detail reason metadata
    return_url data has_more
"""
_LAST = "workflow_id livemode created_at"
_RANK = {name: rank for rank, name in enumerate(_FIRST.split())}
_RANK |= {name: 10_000 + rank for rank, name in enumerate(_LAST.split())}

OWN_DECLINE_CODES = ("blocked_by_risk", "card_retry_limit_", "authentication_", "account_", "exceeds_", "resolved_")
"""Declines that are not an issuer's: their code is the problem's code as it stands."""

NOT_ATTEMPTED = ("no_rail_available", "rail_not_available")
"""No rail ever saw the order."""

CONFLICTS = ("transfer_already_reversed",)
"""Refusals that say the state of another object forbids it."""

REFUSALS = frozenset(code.value for code in RefusalCode)


def ordered(value: Any) -> Any:
    """Return a JSON value with every object's fields in the API's order, unknown names by alphabet."""
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value, key=_field_rank)}
    if isinstance(value, list):
        return [ordered(member) for member in value]
    return value


def _field_rank(name: str) -> tuple[int, str]:
    return _RANK.get(name, 1_000), name


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    body = json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def list_answer(documents: Sequence[Document], has_more: bool) -> Response:
    """Return one page of a list."""
    return json_answer({"object": "list", "data": list(documents), "has_more": has_more})


def outcome_status(document: Document) -> int:
    """Return the HTTP status of an operation by its outcome.

    201 done or pending a customer's step, 202 unknown or still running, 402 declined, 409 another
    object's state forbids it, 422 refused by the ledger, 503 not attempted anywhere. A refund that
    failed at its rail is 201: the refund exists and its status says so, at once or days later.
    """
    kind, status = document["object"], document["status"]
    if status in ("processing", "unknown"):
        return 202
    code = document.get("decline_code") or document.get("failure_code")
    if (kind, status) == ("charge", "declined") or status == "failed":
        if code in NOT_ATTEMPTED and kind != "refund":
            return 503
        if code in CONFLICTS:
            return 409
        if code in REFUSALS:
            return 422 if status == "failed" else 402
        return 201 if kind == "refund" else 402
    return 201


def operation_answer(document: Document, *, replayed: bool, success: int = 201) -> Response:
    """Return an operation's outcome: the object, or a problem that carries it.

    `success` is the status of what is done: 201 for what was created, 200 for what was changed.
    """
    status = outcome_status(document)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    if status in (201, 202):
        return json_answer(document, success if status == 201 else status, headers)
    raise _problem_with_object(document, status, headers)


def _problem_with_object(document: Document, status: int, headers: dict[str, str]) -> Problem:
    kind = document["object"]
    code = document.get("decline_code") or document.get("failure_code") or f"{kind}_failed"
    detail = document.get("failure_detail") or f"The {kind} failed ({code})."
    members: Document = {kind: ordered(document)}
    if kind == "charge":
        members = {"decline_code": code, "decline_class": document.get("decline_class"), **members}
        detail = f"The charge was declined ({code})."
        if status == 402 and not code.startswith(OWN_DECLINE_CODES):
            code = "card_declined"
    if status == 503:
        detail = "No rail could be reached, so nothing was attempted. A new attempt needs a new idempotency key."
        headers = {**headers, "Retry-After": RETRY_AFTER_SECONDS}
    return Problem(status, code, detail, members=members, headers=headers)


def challenge_token(secret: bytes, charge_id: str) -> str:
    """Return the token that lets a browser answer the sandbox's challenge for one charge."""
    return hmac.new(secret, f"challenge:{charge_id}".encode(), hashlib.sha256).hexdigest()[:40]


def challenge_url(public_url: str, secret: bytes, charge_id: str) -> str:
    """Return the address of the sandbox's challenge page for one charge."""
    return f"{public_url.rstrip('/')}/sandbox/challenge/{charge_id}?token={challenge_token(secret, charge_id)}"
