"""Changing an account: its name, its limits, whether it is open, frozen or closed."""

from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import schemas
from api.accounts import Ceiling, Floor, check_limits, read_account
from api.authentication import Merchant, MerchantCaller
from api.bodies import FreeText, WriteRequest, read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem
from api.idempotency import KeyedRequest, check_same_request, find_key, keyed, read_key
from api.reading import Row
from api.rendering import Document, json_answer
from domain.identifiers import account_code
from domain.ledger import AccountChange, AuditDraft, EventDraft, Posting, Record, RecordKind, Refusal, RefusalCode

router = APIRouter(prefix="/v1", tags=["accounts"])

ROUNDS_MAX = 5
_TERMS = ("status", "name", "min_balance", "max_balance")


class ChangeAccount(WriteRequest):
    """New terms; what is not named stays as it is, null takes a limit or a name away.

    A frozen account moves no money but gives back what is held, and takes chargebacks. A closed one is
    closed for ever.
    """

    name: FreeText | None = None
    min_balance: Floor | None = None
    max_balance: Ceiling | None = None
    status: Literal["open", "frozen", "closed"] = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A request for new terms; `asked` is None when it came without an idempotency key."""

    merchant: Merchant
    account_id: str
    wanted: Document
    asked: KeyedRequest | None


@router.patch(
    "/accounts/{account_id}", responses=schemas.change(schemas.Account), openapi_extra=schemas.body(ChangeAccount)
)
async def change_account(account_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Change an account's terms; audited with what they were before. Setting what is set already changes nothing."""
    body = await read_body(request)
    given = validate(ChangeAccount, body)
    has_key = "idempotency-key" in request.headers or body.get("idempotency_key") is not None
    asked = keyed(request, merchant, read_key(request, body), body) if has_key else None
    wanted = {name: getattr(given, name) for name in _TERMS if name in given.model_fields_set}
    change = _Change(merchant=merchant, account_id=account_id, wanted=wanted, asked=asked)
    replayed = await _was_made(core, change)
    if not replayed:
        await _make(core, change)
    row = await read_account(core, merchant.scope, merchant, account_id)
    return json_answer(row["document"], 200, {"Idempotent-Replayed": "true"} if replayed else None)


async def _was_made(core: Core, change: _Change) -> bool:
    claimed = await find_key(core.reads, change.asked) if change.asked is not None else None
    if claimed is None or change.asked is None:
        return False
    check_same_request(change.asked, claimed)
    return True


async def _make(core: Core, change: _Change) -> None:
    """Commit the change upon the terms as they are; somebody else's change in between is taken into account.

    Raises:
        Problem: 409 the account's state does not allow it, 422 the limits contradict one another: not
            retryable. 409 `account_changed`, others kept changing it: retryable.
        ConnectionError: the database is away. Retryable.
    """
    for _ in range(ROUNDS_MAX):
        row = await read_account(core, change.merchant.scope, change.merchant, change.account_id)
        before: Document = {name: row["document"][name] for name in _TERMS}
        after = before | change.wanted
        check_limits(after["min_balance"], after["max_balance"])
        if after == before and change.asked is None:
            return
        result = await core.services.book.post(_posting(change, row, before, after))
        refusal = result.refusal
        if refusal is None and (change.asked is not None or not result.duplicate):
            return
        if refusal is None:
            continue  # Somebody's change of the same version, perhaps our own: look at what is there now.
        if refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN and await _was_made(core, change):
            return
        if refusal.code not in (RefusalCode.ACCOUNT_CHANGED, RefusalCode.EXISTS_WITH_DIFFERENT_FACTS):
            raise _refused(refusal, row["document"])
        if await _was_made(core, change):
            return
    raise Problem(409, "account_changed", "Others are changing this account at the same time. Try again.")


def _posting(change: _Change, row: Row, before: Document, after: Document) -> Posting:
    merchant, asked = change.merchant, change.asked
    code = account_code(merchant.merchant_id, merchant.mode, change.account_id)
    version = row["terms_version"] + 1
    changed = [name for name in _TERMS if after[name] != before[name]]
    details: dict[str, Any] = {
        "version": version,
        "old": {name: before[name] for name in changed},
        "new": {name: after[name] for name in changed},
    }
    document = {**row["document"], **after, "code": code}
    return Posting(
        key=f"{code}:terms:{version}",
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        audit=AuditDraft(actor=merchant.actor, action="account.updated", object_id=code, details=details),
        records=(Record(kind=RecordKind.ACCOUNT, id=code, version=version, document=document),),
        events=(EventDraft(type="account.updated", object_id=code, version=version),),
        claim=asked.claim("account", code) if asked is not None else None,
        account_change=AccountChange(
            code=code,
            version=version,
            status=after["status"],
            name=after["name"],
            min_balance_minor=after["min_balance"],
            max_balance_minor=after["max_balance"],
        ),
    )


def _refused(refusal: Refusal, document: Document) -> Problem:
    params = {
        RefusalCode.ACCOUNT_NOT_EMPTY: "status",
        RefusalCode.BALANCE_BELOW_MINIMUM: "min_balance",
        RefusalCode.BALANCE_ABOVE_MAXIMUM: "max_balance",
    }
    return Problem(
        409, refusal.code.value, refusal.detail, param=params.get(refusal.code), members={"account": document}
    )
