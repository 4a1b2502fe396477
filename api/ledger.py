"""The book as a whole: trial balance and the proof that it is sound."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, Principal
from api.bodies import parse_at
from api.context import CoreOf
from api.objects import At
from api.reading import EVERYTHING
from api.rendering import Document, json_answer
from domain.identifiers import public_account_id
from domain.timestamps import rfc3339
from ledger.balances import CurrencyTotals, merchant_totals, trial_balance
from ledger.invariants import Violation, check_books
from ledger.watched import Watched, read_watch

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

# One check at a time: each reads the whole book.
_checking = asyncio.Lock()


class CurrencyShown(schemas.Shown):
    """Sums of one currency's entries in minor units; `delta` is 0 in a sound book."""

    currency: str
    debits: int
    credits: int
    delta: int


class AccountPosted(schemas.Shown):
    """What is posted on an account, in minor units."""

    account: str
    currency: str
    posted: int


class TrialBalance(schemas.Shown):
    """Every account at one instant."""

    object: Literal["trial_balance"]
    at: str
    currencies: list[CurrencyShown]
    accounts: list[AccountPosted]


class ViolationShown(schemas.Shown):
    """A rule of the book that is broken."""

    kind: str
    account: str | None
    entry: str | None
    detail: str


class Invariants(schemas.Shown):
    """Whether the book is sound. `incremental` and `full` are the watch's last runs, null before the first."""

    object: Literal["invariants"]
    ok: bool
    checked_at: str
    entries_checked: int
    currencies: list[CurrencyShown]
    violations: list[ViolationShown]
    incremental: dict[str, Any] | None
    full: dict[str, Any] | None
    payouts_stopped: list[str]


@router.get("/trial_balance", responses=schemas.reading(TrialBalance))
async def get_trial_balance(
    principal: Caller,
    core: CoreOf,
    at: At = None,
) -> Response:
    """Return every account's balance at one instant: the whole book with an admin key, else one's own accounts.

    A merchant's `currencies` are what its own movements debited and credited, both legs of each.
    """
    instant = parse_at(at)
    async with core.reads.connection(principal.scope) as connection:
        found = await trial_balance(connection, instant)
    totals = found.currencies
    if principal.merchant_id is not None and principal.mode is not None:
        async with core.reads.connection(EVERYTHING) as connection:
            totals = await merchant_totals(connection, principal.merchant_id, principal.mode, found.at)
    return json_answer(
        {
            "object": "trial_balance",
            "at": rfc3339(found.at),
            "currencies": [_totals(one) for one in totals],
            "accounts": [
                {
                    "account": code if principal.admin else public_account_id(code),
                    "currency": currency,
                    "posted": posted,
                }
                for code, currency, posted in found.accounts
            ],
        }
    )


@router.get("/invariants", responses=schemas.reading(Invariants))
async def get_invariants(
    principal: Caller,
    core: CoreOf,
    full: Annotated[bool, Query(description="Prove the whole book now; costs a read of all of it.")] = False,
) -> Response:
    """Return what the invariant watch knows, or with `full=true` prove the whole book now.

    A merchant sees whether the book is sound, and violations on its own accounts. Where the watch has never run,
    the book is proved.
    """
    async with core.reads.connection(EVERYTHING) as connection:
        watched = await read_watch(connection)
    if not full and watched.incremental is not None:
        return json_answer(_watched(principal, watched, watched.incremental))
    async with _checking, core.reads.connection(EVERYTHING) as connection:
        report = await check_books(connection)
    return json_answer(
        {
            "object": "invariants",
            "ok": report.ok,
            "checked_at": rfc3339(report.checked_at),
            "entries_checked": report.entries_checked,
            "currencies": [_totals(totals) for totals in report.currencies],
            "violations": [_violation(one) for one in report.violations if _may_see(principal, one.account)],
            **_last_runs(watched),
        }
    )


def _watched(principal: Principal, watched: Watched, last: Document) -> Document:
    return {
        "object": "invariants",
        "ok": watched.ok,
        "checked_at": last["checked_at"],
        "entries_checked": last["entries_verified"],
        "currencies": last["currencies"],
        "violations": [one for one in watched.violations if _may_see(principal, one["account"])],
        **_last_runs(watched),
    }


def _last_runs(watched: Watched) -> Document:
    incremental = dict(watched.incremental) if watched.incremental is not None else None
    if incremental is not None:
        del incremental["currencies"]
    return {"incremental": incremental, "full": watched.full, "payouts_stopped": watched.stopped}


def _may_see(principal: Principal, account: str | None) -> bool:
    own = f"{principal.merchant_id}/{principal.mode}/"
    return principal.admin or (account or "").startswith(own)


def _totals(totals: CurrencyTotals) -> Document:
    return {
        "currency": totals.currency,
        "debits": totals.debits_minor,
        "credits": totals.credits_minor,
        "delta": totals.delta_minor,
    }


def _violation(violation: Violation) -> Document:
    return {
        "kind": violation.kind,
        "account": violation.account,
        "entry": violation.entry,
        "detail": violation.detail,
    }
