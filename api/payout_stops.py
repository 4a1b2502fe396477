"""Stops of payouts: which currencies are stopped and why, and a person's word that payouts may go again."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import schemas
from api.authentication import AdminCaller, Merchant, Principal
from api.bodies import FreeText, WriteRequest, read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import check_same_request, find_key, keyed, read_key
from api.reading import EVERYTHING, Statement
from api.rendering import Document, json_answer, list_answer
from domain.identifiers import Mode
from domain.ledger import RefusalCode
from domain.payout_stop import PLATFORM, PayoutStop, StopStatus, stop_id, stop_posting

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

_STOPS = "SELECT version, document FROM payout_stops"


class LiftStop(WriteRequest):
    """Why payouts may go again: what was found out about the violations."""

    note: FreeText


@router.get("/payout_stops", responses=schemas.listing(schemas.PayoutStopShown))
async def list_payout_stops(admin: AdminCaller, core: CoreOf) -> Response:
    """Return every currency that was ever stopped, with the violations that caused the last stop."""
    (rows,) = await core.reads.rows(EVERYTHING, Statement(f"{_STOPS} ORDER BY id"))
    return list_answer([row["document"] for row in rows], False)


@router.post(
    "/payout_stops/{currency}/lift",
    responses=schemas.change(schemas.PayoutStopShown),
    openapi_extra=schemas.body(LiftStop),
)
async def lift_payout_stop(currency: str, request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """Let payouts in a currency go again. Its open violations count as seen and stop nothing again.

    Idempotent on the key. Payouts that waited go on by themselves.
    """
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(LiftStop, body)
    asked = keyed(request, _platform(admin), key, body)
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
        return json_answer((await _stop(core, currency))[1], headers={"Idempotent-Replayed": "true"})
    version, document = await _stop(core, currency)
    if document["status"] != StopStatus.ACTIVE:
        raise Problem(409, "payouts_not_stopped", f"Payouts in {document['currency']} are not stopped.")
    lifted = PayoutStop(
        currency=document["currency"],
        version=version + 1,
        status=StopStatus.LIFTED,
        since=datetime.fromisoformat(document["since"]),
        violations=tuple(document["violations"]),
        lifted_at=datetime.now(UTC),
        lifted_by=asked.merchant.actor,
        note=wanted.note,
    )
    claim = asked.claim("payout_stop", lifted.id)
    result = await core.services.book.post(stop_posting(lifted, actor=asked.merchant.actor, claim=claim))
    if result.refusal is not None and result.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
        raise Problem(409, "payouts_not_stopped", "Somebody else lifted this stop at the same time.")
    assert result.refusal is None, result.refusal
    return json_answer((await _stop(core, currency))[1])


def _platform(admin: Principal) -> Merchant:
    """Return whose key space the acts of administrators are in."""
    return Merchant(merchant_id=PLATFORM, mode=Mode.LIVE, actor=f"api_key:{admin.key_id}")


async def _stop(core: Core, currency: str) -> tuple[int, Document]:
    """Return a currency's stop with its version.

    Raises:
        Problem: 404, payouts in it were never stopped. Not retryable.
    """
    row = None
    if currency.isascii() and currency.isalnum():
        row = await core.reads.first(EVERYTHING, Statement(f"{_STOPS} WHERE id = %(id)s", {"id": stop_id(currency)}))
    if row is None:
        raise not_found("payout_stop")
    return row["version"], row["document"]
