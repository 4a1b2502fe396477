"""What was sent to webhook endpoints, and having it sent again: one delivery, what failed, or a window of events."""

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import schemas
from api.authentication import Merchant, MerchantCaller
from api.bodies import WriteRequest, parse_instant, read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import read_key
from api.merchants import derived_identifier
from api.objects import Limit, is_identifier
from api.reading import Row, Statement
from api.rendering import Document, json_answer, list_answer
from api.webhook_bodies import RecoverDeliveries, ReplayEvents
from api.webhook_endpoints import read_endpoint
from api.webhook_schemas import EventReplay, WebhookDelivery, WebhookDeliveryDetails, WebhookRecovery, WebhookRetry
from domain.identifiers import new_identifier
from domain.ledger import AuditDraft, Posting
from domain.timestamps import rfc3339
from domain.webhooks import EndpointStatus
from events.cursor import last_sequence
from events.recovery import Window

router = APIRouter(prefix="/v1", tags=["webhooks"])

SEQUENCE_MAX = 2**63 - 1
_LAST_ATTEMPT = (
    " JOIN webhook_attempts a ON a.endpoint_id = d.endpoint_id AND a.sequence = d.sequence AND a.number = d.attempts"
)
_COLUMNS = (
    "d.endpoint_id, d.sequence, d.event_id, d.event_type, d.status, d.attempts, d.next_attempt_at,"
    " d.first_attempt_at, d.last_attempt_at, a.number, a.attempted_at, a.duration_ms, a.response_status, a.error,"
    " a.response"
)
_LIST = (
    f"SELECT {_COLUMNS} FROM webhook_deliveries d{_LAST_ATTEMPT} WHERE d.endpoint_id = %(endpoint)s"
    " AND d.sequence < %(before)s"
)
_ONE = f"SELECT {_COLUMNS} FROM webhook_deliveries d{_LAST_ATTEMPT} WHERE d.endpoint_id = %(endpoint)s"
_ATTEMPTS = (
    "SELECT number, attempted_at, duration_ms, response_status, error, response FROM webhook_attempts"
    " WHERE endpoint_id = %(endpoint)s AND sequence = %(sequence)s ORDER BY number"
)
_ENABLED = "SELECT id FROM webhook_endpoints WHERE status = 'enabled' ORDER BY id"
_SEQUENCE_BEFORE = "SELECT event_sequence_before(%(merchant)s, %(mode)s, %(at)s) AS sequence"


@router.get("/webhook_endpoints/{endpoint_id}/deliveries", responses=schemas.listing(WebhookDelivery))
async def list_deliveries(
    endpoint_id: str,
    merchant: MerchantCaller,
    core: CoreOf,
    limit: Limit = 10,
    status: Annotated[
        Literal["pending", "succeeded", "dead"] | None, Query(description="`dead`: the dead-letter list.")
    ] = None,
    before: Annotated[int, Query(ge=1, le=SEQUENCE_MAX, description="Only lower sequences.")] = SEQUENCE_MAX,
) -> Response:
    """Return deliveries, the latest events first, each with its last request."""
    await read_endpoint(core, merchant, endpoint_id)
    sql = _LIST + (" AND d.status = %(status)s" if status is not None else "")
    parameters = {"endpoint": endpoint_id, "before": before, "status": status, "most": limit + 1}
    statement = Statement(sql + " ORDER BY d.sequence DESC LIMIT %(most)s", parameters)
    (rows,) = await core.reads.rows(merchant.scope, statement)
    return list_answer([_shown(row) for row in rows[:limit]], len(rows) > limit)


@router.get("/webhook_endpoints/{endpoint_id}/deliveries/{event_id}", responses=schemas.reading(WebhookDeliveryDetails))
async def get_delivery(endpoint_id: str, event_id: str, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return one event's delivery with every request that was made."""
    await read_endpoint(core, merchant, endpoint_id)
    row = None
    if is_identifier(event_id):
        statement = Statement(_ONE + " AND d.event_id = %(event)s", {"endpoint": endpoint_id, "event": event_id})
        row = await core.reads.first(merchant.scope, statement)
    if row is None:
        raise not_found("webhook_delivery")
    made = Statement(_ATTEMPTS, {"endpoint": endpoint_id, "sequence": row["sequence"]})
    (attempts,) = await core.reads.rows(merchant.scope, made)
    return json_answer({**_shown(row), "attempts_made": [_attempt(one) for one in attempts]})


@router.post(
    "/webhook_endpoints/{endpoint_id}/deliveries/{event_id}/retry",
    responses=schemas.writing(WebhookRetry),
    openapi_extra=schemas.body(WriteRequest),
)
async def retry_delivery(
    endpoint_id: str, event_id: str, request: Request, merchant: MerchantCaller, core: CoreOf
) -> Response:
    """Send one event to an endpoint again, now, whatever became of it before."""
    validate(WriteRequest, await read_body(request))
    await _check_enabled(core, merchant, endpoint_id)
    if not (is_identifier(event_id) and await core.services.recovery.retry(endpoint_id, event_id)):
        raise not_found("webhook_delivery")
    await _audit(core, merchant, "webhook_delivery.retried", endpoint_id, {"event": event_id})
    return json_answer({"object": "webhook_retry", "endpoint": endpoint_id, "event": event_id})


@router.post(
    "/webhook_endpoints/{endpoint_id}/recover",
    responses=schemas.writing(WebhookRecovery),
    openapi_extra=schemas.body(RecoverDeliveries),
)
async def recover_deliveries(endpoint_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Send everything again that failed since an instant and has not succeeded, dead deliveries included."""
    wanted = validate(RecoverDeliveries, await read_body(request))
    await _check_enabled(core, merchant, endpoint_id)
    count = await core.services.recovery.recover(endpoint_id, parse_instant(wanted.since))
    await _audit(core, merchant, "webhook_endpoint.recovered", endpoint_id, {"since": wanted.since, "count": count})
    return json_answer({"object": "webhook_recovery", "endpoint": endpoint_id, "count": count})


@router.post("/events/replay", responses=schemas.creation(EventReplay), openapi_extra=schemas.body(ReplayEvents))
async def replay_events(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Send a window of events again: the same ids and sequences, new timestamps and signatures."""
    body = await read_body(request)
    wanted = validate(ReplayEvents, body)
    window = await _window(core, merchant, wanted)
    if wanted.endpoint is not None:
        await _check_enabled(core, merchant, wanted.endpoint)
        endpoints = [wanted.endpoint]
    else:
        (rows,) = await core.reads.rows(merchant.scope, Statement(_ENABLED))
        endpoints = [row["id"] for row in rows]
    given = "idempotency-key" in request.headers or body.get("idempotency_key") is not None
    key = read_key(request, body) if given else secrets.token_hex(16)
    whose = (merchant.merchant_id, merchant.mode.value, key)
    replay_id = derived_identifier("rpl", *whose)
    replays = [(derived_identifier("rp", *whose, endpoint), endpoint) for endpoint in endpoints]
    await core.services.recovery.replay(replays, window)
    shown = {
        "id": replay_id,
        "object": "event_replay",
        "endpoints": endpoints,
        "from_sequence": window.after + 1,
        "to_sequence": window.until,
        "count": window.until - window.after,
    }
    await _audit(core, merchant, "events.replayed", replay_id, shown, key=f"events.replayed:{replay_id}")
    return json_answer(shown, 201)


async def _window(core: Core, merchant: Merchant, wanted: ReplayEvents) -> Window:
    """Return the events meant, no further than there are any.

    Raises:
        Problem: 422, neither or both kinds of window, or its ends are the wrong way round. Not retryable.
    """
    by_sequence = wanted.from_sequence is not None or wanted.to_sequence is not None
    by_time = wanted.from_ is not None or wanted.to is not None
    if by_sequence == by_time:
        detail = "A window is given by `from_sequence` and `to_sequence`, or by `from` and `to`."
        raise Problem(422, "window_required", detail, param="from_sequence")
    query = last_sequence(merchant.merchant_id, merchant.mode.value)
    (row,) = (await core.reads.rows(merchant.scope, Statement(*query)))[0]
    last = row["last_sequence"]
    if by_sequence:
        after, until = (wanted.from_sequence or 1) - 1, wanted.to_sequence or last
    else:
        after = await _before(core, merchant, wanted.from_) if wanted.from_ is not None else 0
        until = await _before(core, merchant, wanted.to) if wanted.to is not None else last
    if after > until:
        raise Problem(422, "window_invalid", "The window ends before it begins.", param="to_sequence")
    return Window(after=min(after, last), until=min(until, last))


async def _before(core: Core, merchant: Merchant, at: str) -> int:
    parameters = {"merchant": merchant.merchant_id, "mode": merchant.mode.value, "at": parse_instant(at)}
    (row,) = (await core.reads.rows(merchant.scope, Statement(_SEQUENCE_BEFORE, parameters)))[0]
    return int(row["sequence"])


async def _check_enabled(core: Core, merchant: Merchant, endpoint_id: str) -> None:
    stored = await read_endpoint(core, merchant, endpoint_id)
    if stored.document["status"] != EndpointStatus.ENABLED:
        raise Problem(409, "webhook_endpoint_disabled", "This endpoint is disabled; enable it first.")


async def _audit(
    core: Core, merchant: Merchant, action: str, object_id: str, details: dict[str, Any], *, key: str | None = None
) -> None:
    await core.services.book.post(
        Posting(
            key=key or f"{action}:{new_identifier('act')}",
            merchant_id=merchant.merchant_id,
            mode=merchant.mode,
            audit=AuditDraft(actor=merchant.actor, action=action, object_id=object_id, details=details),
        )
    )


def _shown(row: Row) -> Document:
    return {
        "object": "webhook_delivery",
        "endpoint": row["endpoint_id"],
        "event": row["event_id"],
        "event_type": row["event_type"],
        "sequence": row["sequence"],
        "status": row["status"],
        "attempts": row["attempts"],
        "first_attempt_at": rfc3339(row["first_attempt_at"]),
        "last_attempt_at": rfc3339(row["last_attempt_at"]),
        "next_attempt_at": rfc3339(row["next_attempt_at"]),
        "last_attempt": _attempt(row),
    }


def _attempt(row: Row) -> Document:
    return {
        "number": row["number"],
        "attempted_at": rfc3339(row["attempted_at"]),
        "duration_ms": row["duration_ms"],
        "response_status": row["response_status"],
        "error": row["error"],
        "response": row["response"],
    }
