"""Files of rails and banks: handed in, reconciled, looked up; and what became of each of their lines."""

import asyncio
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, Merchant, Principal
from api.bodies import RailName, WriteRequest, validate
from api.context import Core, CoreOf
from api.errors import Problem
from api.idempotency import KeyedRequest, check_same_request, find_key, keyed, read_key
from api.multipart import read_form
from api.objects import After, Limit, check_cursor, read_object
from api.reading import Statement
from api.rendering import Document, json_answer, list_answer
from domain.identifiers import Mode
from domain.payout_stop import PLATFORM
from domain.reconciliation import FileFormat, FileOffer, FileRefusedError, FileStatus

router = APIRouter(prefix="/v1/reconciliation", tags=["reconciliation"])

POLL_SECONDS = 0.05
NUMBER_MAX = 2**31 - 1
_LIST = "SELECT document FROM reconciliation_files{where} ORDER BY created_at DESC, id DESC LIMIT %(most)s"
_AFTER = " WHERE (created_at, id) < ((SELECT created_at FROM reconciliation_files WHERE id = %(after)s), %(after)s)"
_LINES = (
    "SELECT document FROM reconciliation_lines WHERE file_id = %(file)s AND number > %(after)s{filter}"
    " ORDER BY number LIMIT %(most)s"
)
_FILTER = " AND status = %(status)s"


class FileUpload(WriteRequest):
    """A file, how it is written, and whose it is: the rail's name, or of a bank statement the bank's.

    `mode` only with an admin key, whose file is about everybody's orders.
    """

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    format: Literal["acquirer_csv", "bank_csv"]
    rail: RailName
    mode: Literal["test", "live"] | None = None


class FileTotals(schemas.Shown):
    """What the trailer says of one currency; amounts in minor units."""

    currency: str
    lines: int
    gross: int
    fee: int
    net: int


class ReconciliationFile(schemas.Shown):
    """A file and what came of it. `exceptions` counts lines that became one, and what the file lacks (`missing`)."""

    id: str
    object: Literal["reconciliation_file"]
    status: Literal["processing", "matched", "reconciled"]
    format: Literal["acquirer_csv", "bank_csv"]
    rail: str
    lines: int
    matched: int
    exceptions: int
    duplicates: int
    missing: int
    late: int
    totals: list[FileTotals]
    covers_from: str | None
    covers_until: str | None
    content_sha256: str
    livemode: bool
    created_at: str


class ReconciliationLine(schemas.Shown):
    """A line and its outcome; `difference` is what the rail's side has more (or less) than the books."""

    id: str
    object: Literal["reconciliation_line"]
    status: Literal["matched", "duplicate", "exception"]
    file: str
    number: int
    kind: Literal["capture", "refund", "chargeback", "payout", "fee", "adjustment", "entry"]
    reference: str
    order: str | None
    gross: int
    fee: int
    net: int
    currency: str
    booked_at: str
    business_day: str
    late: bool
    rail: str | None
    batch: str | None
    corrects: str | None
    subject: str | None
    expected: int
    actual: int
    difference: int
    exception: str | None
    detail: str | None


@router.post(
    "/files",
    responses={
        200: {"model": ReconciliationFile, "description": "These bytes had come before; nothing is done twice."},
        201: {"model": ReconciliationFile, "description": "Taken, and every line has its outcome."},
        202: {"model": ReconciliationFile, "description": "Taken; lines are still being matched."},
    },
    openapi_extra=schemas.body(FileUpload, "multipart/form-data"),
)
async def upload_file(request: Request, principal: Caller, core: CoreOf) -> Response:
    """Take a file and reconcile it. Idempotent on its content. A file that is not whole is refused.

    In live mode only an administrator hands files in: whoever is paid by them must not write them.
    """
    form = await read_form(request, files=frozenset({"file"}))
    content = form.files.get("file")
    named = {name: "" for name in form.files}
    wanted = validate(FileUpload, {**named, **form.texts})
    assert content is not None, "a form without its file does not validate"
    merchant = _whose(principal, wanted)
    offer = FileOffer(
        content=content,
        format=FileFormat(wanted.format),
        party=wanted.rail,
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        actor=merchant.actor,
    )
    asked = _keyed(request, merchant, wanted, offer)
    claimed = await find_key(core.reads, asked) if asked is not None else None
    if asked is not None and claimed is not None:
        check_same_request(asked, claimed)
    if core.services.files is None:
        raise Problem(422, "unknown_rail", "Nothing here takes files.", param="rail")
    try:
        taken = await core.services.files.take(
            offer, asked.claim("reconciliation_file", offer.file_id) if asked is not None else None
        )
    except FileRefusedError as error:
        param = "rail" if error.code == "unknown_rail" else "file"
        raise Problem(422, error.code, error.detail, param=param) from None
    if taken.key_taken and asked is not None:
        claimed = await find_key(core.reads, asked)
        assert claimed is not None
        check_same_request(asked, claimed)
    document = await _settled(core, principal, offer.file_id)
    if document["status"] == FileStatus.PROCESSING:
        return json_answer(document, 202, None if taken.new else {"Idempotent-Replayed": "true"})
    return json_answer(document, 201) if taken.new else json_answer(document, 200, {"Idempotent-Replayed": "true"})


@router.get("/files", responses=schemas.listing(ReconciliationFile))
async def list_files(principal: Caller, core: CoreOf, limit: Limit = 10, starting_after: After = None) -> Response:
    """Return files, newest first: the merchant's own, or with an admin key all there are."""
    where = _AFTER if check_cursor(starting_after) is not None else ""
    statement = Statement(_LIST.format(where=where), {"after": starting_after, "most": limit + 1})
    (rows,) = await core.reads.rows(principal.scope, statement)
    return list_answer([row["document"] for row in rows[:limit]], len(rows) > limit)


@router.get("/files/{file_id}", responses=schemas.reading(ReconciliationFile))
async def get_file(file_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a file."""
    return json_answer(await read_object(core.reads, principal.scope, "reconciliation_file", file_id))


@router.get("/files/{file_id}/lines", responses=schemas.listing(ReconciliationLine))
async def list_lines(
    file_id: str,
    principal: Caller,
    core: CoreOf,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=0, le=NUMBER_MAX, description="Only lines after this `number`.")] = 0,
    status: Annotated[Literal["matched", "duplicate", "exception"] | None, Query()] = None,
) -> Response:
    """Return a file's lines that have their outcome, in the file's order."""
    await read_object(core.reads, principal.scope, "reconciliation_file", file_id)
    sql = _LINES.format(filter=_FILTER if status is not None else "")
    terms = {"file": file_id, "after": after, "status": status, "most": limit + 1}
    (rows,) = await core.reads.rows(principal.scope, Statement(sql, terms))
    return list_answer([row["document"] for row in rows[:limit]], len(rows) > limit)


def _whose(principal: Principal, wanted: FileUpload) -> Merchant:
    """Return whose file it is: the merchant's, or the installation's in a mode that an administrator names.

    Raises:
        Problem: 403 a merchant's key in live mode, 422 the mode is missing or another than the key's. Not retryable.
    """
    actor = f"api_key:{principal.key_id}"
    if principal.merchant_id is None or principal.mode is None:
        if wanted.mode is None:
            raise Problem(422, "mode_required", "With an admin key `mode` says test or live.", param="mode")
        return Merchant(merchant_id=PLATFORM, mode=Mode(wanted.mode), actor=actor)
    if wanted.mode not in (None, principal.mode.value):
        raise Problem(422, "mode_invalid", "The key is of the other mode.", param="mode")
    if principal.mode is Mode.LIVE:
        raise Problem(403, "admin_key_required", "In live mode an administrator hands files in.")
    return Merchant(merchant_id=principal.merchant_id, mode=principal.mode, actor=actor)


def _keyed(request: Request, merchant: Merchant, wanted: FileUpload, offer: FileOffer) -> KeyedRequest | None:
    """Return the request with its key, None without one. Its fingerprint is over the content's hash."""
    given = {} if wanted.idempotency_key is None else {"idempotency_key": wanted.idempotency_key}
    if not given and "idempotency-key" not in request.headers:
        return None
    body = {"file": offer.content_hash, "format": wanted.format, "rail": wanted.rail, "mode": merchant.mode.value}
    return keyed(request, merchant, read_key(request, given), body)


async def _settled(core: Core, principal: Principal, file_id: str) -> Document:
    """Return the file once its lines have their outcomes, or as it stands at the end of the sync budget."""
    deadline = time.monotonic() + core.services.sync_budget_seconds
    while True:
        document = await read_object(core.reads, principal.scope, "reconciliation_file", file_id)
        if document["status"] != FileStatus.PROCESSING or time.monotonic() > deadline:
            return document
        await asyncio.sleep(POLL_SECONDS)
