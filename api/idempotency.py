"""Idempotency keys: where they come from, what a request's fingerprint covers, what a repeat means.

Decides whether a repeated key is a replay (same request) or a mistake (another request). Starting
and waiting is `api/starting.py`.
"""

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from api.authentication import Merchant
from api.bodies import Body, Model, read_body, validate
from api.errors import Problem
from api.reading import Reads, Statement
from api.rendering import Document
from domain.canonical import canonical_json, fingerprint
from domain.identifiers import workflow_id
from domain.ledger import KeyClaim

RESERVED_PREFIXES = ("dispute:", "line:", "notice:", "orphan:", "payout_of:", "payout_wait:", "settlement:")
"""Keys of what starts without a merchant's request; a merchant must not be able to take the place of one."""

REFUNDED = (
    "coalesce((SELECT sum(r.amount_minor) FROM refunds r WHERE r.charge_id = {0}.id AND r.status = 'succeeded'), 0)"
)
_PAID_OUT = (
    "CASE WHEN {0}.document ? 'payout' THEN jsonb_build_object('payout', ({0}.document -> 'payout') ||"
    " coalesce((SELECT jsonb_build_object('status', p.status, 'amount', p.document -> 'amount')"
    " FROM payouts p WHERE p.id = {0}.document -> 'payout' ->> 'id'), '{{}}')) ELSE '{{}}' END"
)
CHARGE_DOCUMENT = "{0}.document || jsonb_build_object('amount_refunded', " + REFUNDED + "::bigint) || " + _PAID_OUT
"""A charge as shown: what was refunded and paid out is read from the refunds and the payout themselves."""

_REVERSED_BY = (
    "(SELECT r.id FROM transfers r WHERE r.document ->> 'reverses' = {0}.id AND r.status = 'settled' LIMIT 1)"
)
TRANSFER_DOCUMENT = "{0}.document || jsonb_build_object('reversed_by', " + _REVERSED_BY + ")"
"""A transfer as shown: what reversed it is read from the reversal itself."""

FX_QUOTE_DOCUMENT = (
    "{0}.document || CASE WHEN {0}.status = 'open' AND ({0}.document ->> 'expires_at')::timestamptz"
    """ <= clock_timestamp() THEN '{{"status": "expired"}}'::jsonb ELSE '{{}}'::jsonb END"""
)
"""A quote as shown: nobody writes that time passes, so whether it has expired is read off the clock."""

_TABLES = {
    "charge": "charges",
    "refund": "refunds",
    "payout": "payouts",
    "transfer": "transfers",
    "dispute": "disputes",
    "exception": "exceptions",
    "fx_quote": "fx_quotes",
    "webhook_endpoint": "webhook_endpoints",
    "reconciliation_file": "reconciliation_files",
    "reconciliation_line": "reconciliation_lines",
}
ACCOUNT_DOCUMENT = (
    "jsonb_build_object('id', public_account({0}.code), 'object', 'account', 'status', {0}.status,"
    " 'currency', {0}.currency, 'kind', {0}.kind, 'name', {0}.name, 'min_balance', {0}.min_balance_minor,"
    " 'max_balance', {0}.max_balance_minor, 'livemode', {0}.mode = 'live', 'created_at',"
    """ to_char({0}.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))"""
)
"""An account as shown, from its row."""

EXCEPTION_DOCUMENT = (
    "CASE WHEN {0}.document -> 'resolution' ->> 'amount' IS NOT NULL THEN jsonb_set({0}.document,"
    """ '{{resolution,ledger_transaction}}', coalesce((SELECT to_jsonb('lt_' || lpad(t.id::text, 16, '0'))"""
    " FROM ledger_transactions t WHERE t.key = {0}.id || ':' || {0}.version), 'null'::jsonb))"
    " ELSE {0}.document END"
)
"""An exception as shown: the ledger transaction of its closing is read from the posting that closed it."""

STATEMENT_DOCUMENT = (
    "{0}.document || jsonb_build_object('corrected_by', (SELECT c.id FROM safeguarding_statements c"
    " WHERE c.document ->> 'corrects' = {0}.id LIMIT 1))"
)
"""A bank's statement as shown: it never changes, so what corrected it is read from the correction."""

_SHOWN = {
    "charge": CHARGE_DOCUMENT,
    "transfer": TRANSFER_DOCUMENT,
    "fx_quote": FX_QUOTE_DOCUMENT,
    "exception": EXCEPTION_DOCUMENT,
    "safeguarding_statement": STATEMENT_DOCUMENT,
}


def shown(kind: str) -> str:
    """Return the SQL of an object's document as shown, from a row `o` of its table."""
    return _SHOWN.get(kind, "{0}.document").format("o")


_DOCUMENTS = " ".join(
    f"WHEN '{kind}' THEN (SELECT {shown(kind)} FROM {table} o WHERE o.id = k.object_id)"
    for kind, table in _TABLES.items()
)
_ACCOUNT = f"WHEN 'account' THEN (SELECT {ACCOUNT_DOCUMENT.format('a')} FROM accounts a WHERE a.code = k.object_id)"
_FIND_KEY = (
    "SELECT k.fingerprint, k.route, k.request, k.object_kind, k.object_id, k.workflow_id,"
    f" CASE k.object_kind {_DOCUMENTS} {_ACCOUNT} END AS document"
    " FROM idempotency_keys k WHERE k.merchant_id = %(merchant_id)s AND k.mode = %(mode)s AND k.key = %(key)s"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A write with its key: who asks for what, recognisable when it comes again."""

    merchant: Merchant
    key: str
    route: str
    request: Body
    fingerprint: str

    @property
    def workflow_id(self) -> str:
        """The id of the one workflow this key may ever start."""
        return workflow_id(self.merchant.merchant_id, self.merchant.mode, self.key)

    def claim(self, object_kind: str, object_id: str) -> KeyClaim:
        """Return the claim that commits with the object this request makes or changes."""
        return KeyClaim(
            key=self.key,
            fingerprint=self.fingerprint,
            route=self.route,
            request=self.request,
            object_kind=object_kind,
            object_id=object_id,
            workflow_id=self.workflow_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedKey:
    """A key as it was claimed, with its object's current state (None for kinds shown elsewhere)."""

    fingerprint: str
    route: str
    request: Body
    object_kind: str
    object_id: str
    workflow_id: str | None
    document: Document | None


async def read_write(http: Request, merchant: Merchant, model: type[Model]) -> tuple[KeyedRequest, Model]:
    """Return a write with its key and fingerprint, and its body as the model.

    Raises:
        Problem: 400 the key or the JSON is missing or misshapen, 413, 415, 422 a field is wrong.
            Not retryable.
    """
    body = await read_body(http)
    key = read_key(http, body)
    wanted = validate(model, body)
    return keyed(http, merchant, key, body), wanted


def keyed(http: Request, merchant: Merchant, key: str, body: Body) -> KeyedRequest:
    """Return a validated request with its fingerprint."""
    request = {name: value for name, value in body.items() if name != "idempotency_key"}
    route = str(http.scope["path"])
    return KeyedRequest(
        merchant=merchant,
        key=key,
        route=route,
        request=request,
        fingerprint=fingerprint(merchant.mode.value, merchant.merchant_id, http.method, route, request),
    )


def read_key(http: Request, body: Body) -> str:
    """Return the idempotency key from header or body.

    Raises:
        Problem: 400, the key is missing, misshapen, or given twice differently. Not retryable.
    """
    offered = set(http.headers.getlist("idempotency-key"))
    if body.get("idempotency_key") is not None:
        written = body["idempotency_key"]
        offered.add(written if isinstance(written, str) else "")
    if not offered:
        raise Problem(
            400,
            "idempotency_key_required",
            "Send an `Idempotency-Key` header (or the body field `idempotency_key`) with every write.",
            param="idempotency_key",
        )
    if len(offered) > 1:
        raise Problem(
            400,
            "idempotency_key_mismatch",
            "Header and body name different idempotency keys.",
            param="idempotency_key",
        )
    (key,) = offered
    printable = all(" " <= character <= "~" for character in key)
    if not (1 <= len(key) <= 255 and printable) or key.startswith(RESERVED_PREFIXES):
        raise Problem(
            400,
            "idempotency_key_invalid",
            "An idempotency key has 1 to 255 printable ASCII characters and does not begin with one of "
            f"{', '.join(f'`{prefix}`' for prefix in RESERVED_PREFIXES)}.",
            param="idempotency_key",
        )
    return key


def key_statement(asked: KeyedRequest) -> Statement:
    """Return the look-up of a key, to be sent along with other reads."""
    return Statement(
        _FIND_KEY, {"merchant_id": asked.merchant.merchant_id, "mode": asked.merchant.mode.value, "key": asked.key}
    )


def claimed_key(rows: list[dict[str, Any]]) -> ClaimedKey | None:
    """Return what `key_statement` found."""
    return ClaimedKey(**rows[0]) if rows else None


async def find_key(reads: Reads, asked: KeyedRequest) -> ClaimedKey | None:
    """Return the claim of a request's key, if it has been committed."""
    (rows,) = await reads.rows(asked.merchant.scope, key_statement(asked))
    return claimed_key(rows)


def check_same_request(asked: KeyedRequest, claimed: ClaimedKey) -> None:
    """Let a repeat of the same request pass.

    Raises:
        Problem: 422 `idempotency_key_reused`, the key belongs to another request. Not retryable.
    """
    if asked.fingerprint == claimed.fingerprint:
        return
    if asked.route != claimed.route:
        raise Problem(
            422,
            "idempotency_key_reused",
            f"This idempotency key was used for {claimed.route}. Use a new key for a new operation.",
        )
    param = first_difference(claimed.request, asked.request)
    named = f" with another `{param}`" if param else ""
    raise Problem(
        422,
        "idempotency_key_reused",
        f"This idempotency key was used for a request{named}. Use a new key for a new operation.",
        param=param,
    )


def first_difference(before: Body, now: Body, path: str = "") -> str | None:
    """Return the dotted name of the first field, in the new request's order, that differs.

    `{"amount": 1}` against `{"amount": 2}` is `amount`; `1` and `true` differ.
    """
    for name in [*now, *(name for name in before if name not in now)]:
        old, new = before.get(name), now.get(name)
        if (name in before) == (name in now) and canonical_json(old) == canonical_json(new):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            return first_difference(old, new, f"{path}{name}.") or f"{path}{name}"
        return f"{path}{name}"
    return None


def key_in_use(object_id: str | None) -> Problem:
    """Return the 409 of a key whose first request is still running (semantics rule 4)."""
    members = {"object_id": object_id} if object_id else {}
    return Problem(
        409,
        "idempotency_key_in_use",
        "The first request with this key is still running. Retry with the same key.",
        members=members,
        headers={"Retry-After": "1"},
    )
