"""Webhook endpoints: made, changed, given new secrets, removed. Who is sent what, and how strictly in order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import schemas
from api.authentication import Merchant, MerchantCaller
from api.bodies import read_body, validate
from api.bookkeeping import commit_keyed
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import KeyedRequest, check_same_request, find_key, keyed, read_key, read_write
from api.objects import After, Limit, is_identifier, list_objects
from api.reading import Statement
from api.rendering import Document, json_answer, list_answer
from api.webhook_bodies import ChangeWebhookEndpoint, CreateWebhookEndpoint, RotateSecret, check_url
from api.webhook_schemas import WebhookEndpoint
from domain.identifiers import Mode, new_identifier
from domain.ledger import RefusalCode
from domain.timestamps import rfc3339
from domain.webhooks import EndpointChange, EndpointStatus

router = APIRouter(prefix="/v1", tags=["webhooks"])

KIND = "webhook_endpoint"
ROUNDS_MAX = 5
_READ = "SELECT document, version FROM webhook_endpoints WHERE id = %(id)s AND status <> 'deleted'"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEndpoint:
    """An endpoint as it is shown, and its version."""

    document: Document
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Whose endpoint is to be changed; `keyed` is None for a request without an idempotency key."""

    merchant: Merchant
    endpoint_id: str
    keyed: KeyedRequest | None = None


Change = Callable[[StoredEndpoint], Document | None]
"""Returns the new document, or None when there is nothing to change."""


@router.post(
    "/webhook_endpoints",
    responses=schemas.creation(WebhookEndpoint),
    openapi_extra=schemas.body(CreateWebhookEndpoint),
)
async def create_webhook_endpoint(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Add an endpoint. `secret` is in this answer and in no later one; a repeat answers without it."""
    asked, wanted = await read_write(request, merchant, CreateWebhookEndpoint)
    check_url(wanted.url, merchant.mode)
    endpoint_id = new_identifier("we")
    kinds = sorted(set(wanted.signatures))
    shown, sealed = core.services.secrets.issue(endpoint_id, kinds)
    document = {
        "id": endpoint_id,
        "object": KIND,
        "status": EndpointStatus.ENABLED.value,
        "url": wanted.url,
        "description": wanted.description,
        "event_types": wanted.event_types,
        "ordering": wanted.ordering,
        "in_flight_max": wanted.in_flight_max,
        "signatures": kinds,
        "public_key": shown.get("public_key"),
        "disabled_reason": None,
        "metadata": wanted.metadata,
        "livemode": merchant.mode is Mode.LIVE,
        "created_at": rfc3339(datetime.now(UTC)),
    }
    change = EndpointChange(
        document=document,
        version=1,
        verb="created",
        merchant_id=merchant.merchant_id,
        actor=merchant.actor,
        internal={"secrets": sealed, "start_after": wanted.start_after},
        claim=asked.claim(KIND, endpoint_id),
    )
    claimed, replayed = await commit_keyed(core, asked, change.posting(), param="id")
    assert claimed.document is not None
    if replayed or claimed.object_id != endpoint_id:
        return json_answer(claimed.document, 201, {"Idempotent-Replayed": "true"})
    return json_answer({**claimed.document, **shown}, 201)


@router.get("/webhook_endpoints", responses=schemas.listing(WebhookEndpoint))
async def list_webhook_endpoints(
    merchant: MerchantCaller, core: CoreOf, limit: Limit = 10, starting_after: After = None
) -> Response:
    """Return the endpoints, newest first; removed ones are left out."""
    documents, has_more = await list_objects(
        core.reads, merchant.scope, KIND, limit=limit, starting_after=starting_after
    )
    return list_answer([one for one in documents if one["status"] != EndpointStatus.DELETED], has_more)


@router.get("/webhook_endpoints/{endpoint_id}", responses=schemas.reading(WebhookEndpoint))
async def get_webhook_endpoint(endpoint_id: str, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return one endpoint, never its secret."""
    return json_answer((await read_endpoint(core, merchant, endpoint_id)).document)


@router.patch(
    "/webhook_endpoints/{endpoint_id}",
    responses=schemas.change(WebhookEndpoint),
    openapi_extra=schemas.body(ChangeWebhookEndpoint),
)
async def change_webhook_endpoint(
    endpoint_id: str, request: Request, merchant: MerchantCaller, core: CoreOf
) -> Response:
    """Change an endpoint. Enabling it again continues after the last event it took."""
    body = await read_body(request)
    wanted = validate(ChangeWebhookEndpoint, body)
    if wanted.url is not None:
        check_url(wanted.url, merchant.mode)
    named = {name: getattr(wanted, name) for name in wanted.model_fields_set - {"idempotency_key"}}
    changes = {name: value for name, value in named.items() if value is not None or name == "description"}
    if wanted.status is not None:
        changes["disabled_reason"] = "by_merchant" if wanted.status == "disabled" else None

    def changed(stored: StoredEndpoint) -> Document | None:
        document = {**stored.document, **changes}
        if document["status"] == stored.document["status"]:
            document["disabled_reason"] = stored.document["disabled_reason"]
        return document if document != stored.document else None

    asked = _Asked(merchant=merchant, endpoint_id=endpoint_id, keyed=_optional_key(request, merchant, body))
    document, replayed = await _commit(core, asked, "updated", changed)
    return json_answer(document, 200, {"Idempotent-Replayed": "true"} if replayed else None)


@router.delete("/webhook_endpoints/{endpoint_id}", responses=schemas.writing(WebhookEndpoint))
async def delete_webhook_endpoint(endpoint_id: str, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Remove an endpoint: it is sent nothing more. Its deliveries stay for the audit's sake."""
    asked = _Asked(merchant=merchant, endpoint_id=endpoint_id)
    document, _ = await _commit(
        core, asked, "deleted", lambda stored: {**stored.document, "status": EndpointStatus.DELETED.value}
    )
    return json_answer(document)


@router.post(
    "/webhook_endpoints/{endpoint_id}/rotate_secret",
    responses=schemas.change(WebhookEndpoint),
    openapi_extra=schemas.body(RotateSecret),
)
async def rotate_secret(endpoint_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Give an endpoint a new secret, shown in this answer only; until the overlap ends both sign."""
    asked, wanted = await read_write(request, merchant, RotateSecret)
    for _ in range(ROUNDS_MAX):
        stored = await read_endpoint(core, merchant, endpoint_id)
        kinds = stored.document["signatures"]
        made = await core.services.secrets.rotate(endpoint_id, stored.version, kinds, wanted.overlap_seconds)
        if made is None:
            continue
        shown, sealed = made
        document = {**stored.document, "public_key": shown.get("public_key")}
        change = _change(merchant, document, stored.version + 1, "secret_rotated", asked, {"secrets": sealed})
        claimed = await find_key(core.reads, asked)
        if claimed is None:
            result = await core.services.book.post(change.posting())
            if result.refusal is None and not result.duplicate:
                return json_answer({**document, **shown})
            claimed = await find_key(core.reads, asked)
        if claimed is not None:
            check_same_request(asked, claimed)
            assert claimed.document is not None
            return json_answer(claimed.document, 200, {"Idempotent-Replayed": "true"})
    raise _in_use()


async def read_endpoint(core: Core, merchant: Merchant, endpoint_id: str) -> StoredEndpoint:
    """Return an endpoint of the merchant.

    Raises:
        Problem: 404, it does not exist, was removed or belongs to somebody else. Not retryable.
    """
    found = None
    if is_identifier(endpoint_id):
        found = await core.reads.first(merchant.scope, Statement(_READ, {"id": endpoint_id}))
    if found is None:
        raise not_found(KIND)
    return StoredEndpoint(document=found["document"], version=found["version"])


async def _commit(core: Core, asked: _Asked, verb: str, change: Change) -> tuple[Document, bool]:
    """Commit a change upon the endpoint as it is; return it, and whether the key had been used for this before.

    Raises:
        Problem: 404; 422 the key belongs to another request; 409 others kept changing it (retryable).
    """
    for _ in range(ROUNDS_MAX):
        claimed = await find_key(core.reads, asked.keyed) if asked.keyed is not None else None
        if claimed is not None and asked.keyed is not None:
            check_same_request(asked.keyed, claimed)
            assert claimed.document is not None
            return claimed.document, True
        stored = await read_endpoint(core, asked.merchant, asked.endpoint_id)
        document = change(stored)
        if document is None and asked.keyed is None:
            return stored.document, False
        document = document or stored.document
        posting = _change(asked.merchant, document, stored.version + 1, verb, asked.keyed).posting()
        result = await core.services.book.post(posting)
        if result.refusal is None and not result.duplicate:
            return document, False
        if result.refusal is not None and result.refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
            continue
    raise _in_use()


def _change(
    merchant: Merchant,
    document: Document,
    version: int,
    verb: str,
    asked: KeyedRequest | None,
    internal: dict[str, Any] | None = None,
) -> EndpointChange:
    disabled = verb == "updated" and document["disabled_reason"] == "by_merchant"
    return EndpointChange(
        document=document,
        version=version,
        verb="disabled" if disabled else verb,
        merchant_id=merchant.merchant_id,
        actor=merchant.actor,
        internal=internal,
        claim=asked.claim(KIND, document["id"]) if asked is not None else None,
    )


def _optional_key(request: Request, merchant: Merchant, body: dict[str, Any]) -> KeyedRequest | None:
    if "idempotency-key" not in request.headers and body.get("idempotency_key") is None:
        return None
    return keyed(request, merchant, read_key(request, body), body)


def _in_use() -> Problem:
    return Problem(409, "webhook_endpoint_in_use", "Others are changing this endpoint at the same time. Try again.")
