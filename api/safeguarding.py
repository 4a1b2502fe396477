"""Safeguarding over HTTP: banks' statements in, reconciliations out. Admin keys only: it is the institution's own."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import schemas
from api.authentication import AdminCaller, Merchant, Principal
from api.bodies import parse_at, parse_instant, read_body, validate
from api.bookkeeping import commit_keyed
from api.context import Core, CoreOf
from api.errors import Problem, temporarily_unavailable
from api.idempotency import KeyedRequest, check_same_request, find_key, keyed, read_key
from api.objects import DATE_TIME, After, Limit, is_identifier, list_objects, read_object
from api.reading import EVERYTHING, Statement
from api.rendering import Document, json_answer, list_answer
from api.safeguarding_schemas import (
    BANK,
    Finding,
    GiveStatement,
    ModeName,
    ReconciliationShown,
    RunReconciliation,
    RunShown,
    StatementShown,
)
from domain.identifiers import Mode, encode_base32
from domain.ledger import AuditDraft, Posting, Record, RecordKind
from domain.payout_stop import PLATFORM
from domain.safeguarding import BOOKS_BEGIN, read_stamp, stamp
from domain.timestamps import rfc3339
from ledger.balances import settled_instant
from operations.safeguarding import BreakInUseError, reconcile

router = APIRouter(prefix="/v1/safeguarding", tags=["safeguarding"])

STATEMENT, RECONCILIATION = "safeguarding_statement", "safeguarding_reconciliation"
INSTANT_OR_DAY_MAX = 40
OfMode = Annotated[ModeName | None, Query(description="Only of this mode.")]
OfCurrency = Annotated[str | None, Query(pattern=r"^[A-Z]{3,5}$", description="Only of this currency.")]
OfBank = Annotated[str | None, Query(pattern=BANK, description="Only of this bank.")]
From = Annotated[
    str | None,
    Query(
        alias="from",
        max_length=INSTANT_OR_DAY_MAX,
        description="RFC 3339, itself included.",
        json_schema_extra=DATE_TIME,
    ),
]
To = Annotated[
    str | None,
    Query(
        alias="to", max_length=INSTANT_OR_DAY_MAX, description="RFC 3339, itself included.", json_schema_extra=DATE_TIME
    ),
]
_SAME_STATEMENT = (
    "SELECT document FROM safeguarding_statements WHERE mode = %(mode)s AND document ->> 'bank' = %(bank)s"
    " AND document ->> 'currency' = %(currency)s AND document ->> 'statement_id' = %(statement_id)s"
)
_SAME_INSTANT = (
    "SELECT s.id FROM safeguarding_statements s WHERE s.mode = %(mode)s AND s.document ->> 'bank' = %(bank)s"
    " AND s.document ->> 'currency' = %(currency)s AND s.document ->> 'as_of' = %(as_of)s AND NOT EXISTS"
    " (SELECT FROM safeguarding_statements c WHERE c.document ->> 'corrects' = s.id)"
)
_GIVEN = ("bank", "currency", "mode", "statement_id", "closing_balance", "as_of", "lines", "corrects")


@router.post("/statements", responses=schemas.creation(StatementShown), openapi_extra=schemas.body(GiveStatement))
async def give_statement(request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """Keep a bank's statement for ever. Given again, under any key, it is the same one.

    Another content under the same name of the bank's is refused: a corrected statement has a name of its own and
    says in `corrects` which one it replaces.
    """
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(GiveStatement, body)
    asked = keyed(request, platform(admin, Mode(wanted.mode)), key, body)
    await settled(core, wanted.as_of, param="as_of")
    document = _statement_document(wanted, asked.merchant.actor)
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
        return await _statement_answer(core, claimed.object_id, replayed=True)
    stored = await _same_statement(core, document)
    if stored is None:
        await _check_statement(core, document)
        result = await core.services.book.post(_statement_posting(asked, document))
        if result.refusal is None:
            return await _statement_answer(core, document["id"], replayed=result.duplicate)
        stored = await _same_statement(core, document)
        assert stored is not None, result.refusal
    if any(stored[name] != document[name] for name in _GIVEN):
        raise Problem(
            409,
            "statement_exists_with_different_content",
            "The bank's statement of this name was given with another content. A correction has a name of its own"
            " and names this one in `corrects`.",
            param="statement_id",
        )
    return await _statement_answer(core, stored["id"], replayed=True)


@router.get("/statements", responses=schemas.listing(StatementShown))
async def list_statements(
    admin: AdminCaller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    mode: OfMode = None,
    currency: OfCurrency = None,
    bank: OfBank = None,
) -> Response:
    """Return statements, the one of the latest instant first."""
    filters = {"mode": mode, "currency": currency, "bank": bank}
    documents, more = await list_objects(
        core.reads, EVERYTHING, STATEMENT, limit=limit, starting_after=starting_after, filters=filters
    )
    return list_answer(documents, more)


@router.get("/statements/{statement_id}", responses=schemas.reading(StatementShown))
async def get_statement(statement_id: str, admin: AdminCaller, core: CoreOf) -> Response:
    """Return a statement."""
    return json_answer(await read_object(core.reads, EVERYTHING, STATEMENT, statement_id))


@router.post(
    "/reconciliations",
    responses={**schemas.creation(RunShown), **schemas.problems(503)},
    openapi_extra=schemas.body(RunReconciliation),
)
async def run_reconciliation(request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """Reconcile as of an instant, both modes and every currency, and bring the breaks in line.

    The figures are those of the instant: asked again, by anybody, it answers with the same reconciliations.
    """
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(RunReconciliation, body)
    asked = keyed(request, platform(admin, Mode.LIVE), key, body)
    at = await settled(core, wanted.at, param="at")
    claimed, replayed = await commit_keyed(core, asked, _run_posting(asked, at), param="at")
    at = read_stamp(claimed.object_id.removeprefix("sfn_"))
    try:
        async with core.reads.connection(EVERYTHING) as connection:
            found = await reconcile(connection, core.services.book, at, core.services.safeguarding)
    except BreakInUseError:
        raise temporarily_unavailable("Others change the same breaks right now. Retry with the same key.") from None
    run = {"object": "safeguarding_run", "at": rfc3339(at), "reconciliations": found}
    return json_answer(run, 201, {"Idempotent-Replayed": "true"} if replayed else None)


@router.get("/reconciliations", responses=schemas.listing(ReconciliationShown))
async def list_reconciliations(
    admin: AdminCaller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    status: Annotated[Finding | None, Query(description="Only those that came to this.")] = None,
    mode: OfMode = None,
    currency: OfCurrency = None,
    start: From = None,
    end: To = None,
) -> Response:
    """Return reconciliations, the latest instant first, one for each mode and currency of an instant."""
    filters = {
        "status": status,
        "mode": mode,
        "currency": currency,
        "since": parse_at(start, param="from"),
        "until": parse_at(end, param="to"),
    }
    documents, more = await list_objects(
        core.reads, EVERYTHING, RECONCILIATION, limit=limit, starting_after=starting_after, filters=filters
    )
    return list_answer(documents, more)


@router.get("/reconciliations/{reconciliation_id}", responses=schemas.reading(ReconciliationShown))
async def get_reconciliation(reconciliation_id: str, admin: AdminCaller, core: CoreOf) -> Response:
    """Return a reconciliation."""
    return json_answer(await read_object(core.reads, EVERYTHING, RECONCILIATION, reconciliation_id))


def platform(admin: Principal, mode: Mode) -> Merchant:
    """Return whose key space the acts of administrators about a mode are in."""
    return Merchant(merchant_id=PLATFORM, mode=mode, actor=f"api_key:{admin.key_id}")


async def settled(core: Core, at: str | None, *, param: str) -> datetime:
    """Return an instant that is over, now if none is given: nothing more is recorded at or before it.

    Raises:
        Problem: 422, it is to come, or before any book. Not retryable.
        ArchivedError: it is before the book begins. Not retryable.
    """
    wanted = parse_instant(at) if at is not None else datetime.now(UTC)
    if wanted < BOOKS_BEGIN:
        raise Problem(422, f"{param}_too_early", f"`{param}` is in the year 2000 or later.", param=param)
    async with core.reads.connection(EVERYTHING) as connection:
        found = await settled_instant(connection, wanted)
    if at is not None and found < wanted:
        raise Problem(422, f"{param}_in_the_future", f"`{param}` is an instant that is over.", param=param)
    return found


def _run_posting(asked: KeyedRequest, at: datetime) -> Posting:
    run_id = f"sfn_{stamp(at)}"
    draft = AuditDraft(
        actor=asked.merchant.actor,
        action="safeguarding.run_requested",
        object_id=run_id,
        details={"at": rfc3339(at)},
    )
    return Posting(
        key=f"operator:{asked.workflow_id}",
        merchant_id=asked.merchant.merchant_id,
        mode=asked.merchant.mode,
        audit=draft,
        claim=asked.claim("safeguarding_run", run_id),
    )


def _statement_document(wanted: GiveStatement, actor: str) -> Document:
    as_of = parse_instant(wanted.as_of)
    name = "\x1f".join((wanted.mode, wanted.currency, wanted.bank, wanted.statement_id))
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10], "big")
    return {
        "id": f"sfs_{stamp(as_of)}_{encode_base32(digest, 16)}",
        "object": STATEMENT,
        "mode": wanted.mode,
        "bank": wanted.bank,
        "currency": wanted.currency,
        "statement_id": wanted.statement_id,
        "closing_balance": wanted.closing_balance,
        "as_of": rfc3339(as_of),
        "lines": [line.model_dump(exclude_none=True) for line in wanted.lines],
        "corrects": wanted.corrects,
        "given_by": actor,
        "created_at": rfc3339(datetime.now(UTC)),
    }


def _statement_posting(asked: KeyedRequest, document: Document) -> Posting:
    """Return the commit of a statement; the posting's key is the bank's name of it, so it is kept once."""
    named = {name: document[name] for name in ("bank", "currency", "statement_id", "closing_balance", "as_of")}
    return Posting(
        key=":".join((STATEMENT, document["mode"], document["currency"], document["bank"], document["statement_id"])),
        merchant_id=PLATFORM,
        mode=asked.merchant.mode,
        audit=AuditDraft(
            actor=asked.merchant.actor, action="safeguarding_statement.given", object_id=document["id"], details=named
        ),
        records=(
            Record(
                kind=RecordKind.SAFEGUARDING_STATEMENT,
                id=document["id"],
                version=1,
                document=document,
                create_only=True,
            ),
        ),
        claim=asked.claim(STATEMENT, document["id"]),
    )


async def _same_statement(core: Core, document: Document) -> Document | None:
    row = await core.reads.first(EVERYTHING, Statement(_SAME_STATEMENT, document))
    return None if row is None else row["document"]


async def _check_statement(core: Core, document: Document) -> None:
    """Let a new statement pass that corrects another one of its account, or stands alone.

    Raises:
        Problem: 422 what it corrects is none of this account's; 409 that one was corrected already, or there is one
            of this instant that it does not say it corrects. Not retryable.
    """
    if document["corrects"] is None:
        if await core.reads.first(EVERYTHING, Statement(_SAME_INSTANT, document)) is not None:
            raise Problem(
                409,
                "statement_exists_for_instant",
                "There is a statement of this account and instant; name it in `corrects` to replace it.",
                param="as_of",
            )
        return
    assert is_identifier(document["corrects"])
    sql = "SELECT document, EXISTS (SELECT FROM safeguarding_statements c WHERE c.document ->> 'corrects' = s.id)"
    old = await core.reads.first(
        EVERYTHING,
        Statement(f"{sql} AS corrected FROM safeguarding_statements s WHERE id = %(id)s", {"id": document["corrects"]}),
    )
    if old is None or any(old["document"][name] != document[name] for name in ("mode", "bank", "currency")):
        raise Problem(422, "corrects_invalid", "`corrects` is a statement of the same bank account.", param="corrects")
    if old["corrected"]:
        raise Problem(409, "statement_already_corrected", "That statement was corrected already.", param="corrects")


async def _statement_answer(core: Core, statement_id: str, *, replayed: bool) -> Response:
    document = await read_object(core.reads, EVERYTHING, STATEMENT, statement_id)
    return json_answer(document, 201, {"Idempotent-Replayed": "true"} if replayed else None)
