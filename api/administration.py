"""Routes for whoever runs the installation: merchants and API keys. Admin keys only."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api import schemas
from api.authentication import AdminCaller, Principal
from api.bodies import FreeText, WriteRequest, read_body, validate
from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.idempotency import read_key
from api.merchants import (
    create_api_key,
    create_merchant,
    derived_identifier,
    find_merchant,
    list_api_keys,
    revoke_api_key,
)
from api.objects import is_identifier
from api.rendering import json_answer, list_answer
from domain.identifiers import Mode
from domain.ledger import AuditDraft, Posting
from domain.payout_stop import PLATFORM

router = APIRouter(prefix="/v1", tags=["administration"])

MerchantId = Annotated[str, Field(pattern=r"^mer_[a-z0-9]{1,40}$")]


class CreateMerchant(WriteRequest):
    """A merchant; its id may be chosen."""

    name: FreeText
    id: MerchantId | None = None


class CreateApiKey(WriteRequest):
    """A key for a merchant in one mode, or with `kind: "admin"` for administration."""

    merchant: MerchantId | None = None
    mode: Literal["test", "live"] = "test"
    kind: Literal["secret", "admin"] = "secret"


class MerchantShown(schemas.Shown):
    """A merchant."""

    id: str
    object: Literal["merchant"]
    name: str
    created_at: str


class ApiKeyShown(schemas.Shown):
    """A key; `secret` is shown once, when it is made."""

    id: str
    object: Literal["api_key"]
    status: Literal["active", "revoked"]
    merchant: str | None
    mode: str | None
    kind: Literal["secret", "admin"]
    last4: str
    secret: str | None = None
    created_at: str
    revoked_at: str | None


@router.post("/merchants", responses=schemas.creation(MerchantShown), openapi_extra=schemas.body(CreateMerchant))
async def add_merchant(request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """Add a merchant. A repeat with the same key answers with the same merchant."""
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(CreateMerchant, body)
    merchant_id = wanted.id or derived_identifier("mer", "merchant", key)
    async with core.services.key_admin.begin() as connection:
        merchant = await create_merchant(connection, name=wanted.name, merchant_id=merchant_id)
    if not merchant.created and merchant.name != wanted.name:
        raise Problem(409, "already_exists", "A merchant with this id exists with another name.", param="id")
    await _audit(core, admin, "merchant.created", merchant.id, merchant.id, Mode.TEST)
    return json_answer(merchant.document(), 201, None if merchant.created else {"Idempotent-Replayed": "true"})


@router.post("/api_keys", responses=schemas.creation(ApiKeyShown), openapi_extra=schemas.body(CreateApiKey))
async def add_api_key(request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """Make a key; `secret` is shown this once. A repeat answers with the same key without it."""
    body = await read_body(request)
    key = read_key(request, body)
    wanted = validate(CreateApiKey, body)
    if (wanted.merchant is None) != (wanted.kind == "admin"):
        raise Problem(422, "merchant_required", "A secret key has a merchant, an admin key has none.", param="merchant")
    mode = Mode(wanted.mode)
    key_id = derived_identifier("key", wanted.kind, wanted.merchant or "", mode.value, key)
    async with core.services.key_admin.begin() as connection:
        if wanted.merchant is not None and await find_merchant(connection, wanted.merchant) is None:
            raise not_found("merchant")
        made = await create_api_key(connection, merchant_id=wanted.merchant, mode=mode, key_id=key_id)
    await _audit(core, admin, "api_key.created", made.id, wanted.merchant, mode)
    return json_answer(made.document(), 201, None if made.secret else {"Idempotent-Replayed": "true"})


@router.get("/api_keys", responses=schemas.listing(ApiKeyShown))
async def get_api_keys(
    admin: AdminCaller, core: CoreOf, merchant: Annotated[str | None, Query(pattern=r"^mer_[a-z0-9]{1,40}$")] = None
) -> Response:
    """Return the keys, never their secrets."""
    async with core.services.key_admin.begin() as connection:
        keys = await list_api_keys(connection, merchant_id=merchant)
    return list_answer([key.document() for key in keys], False)


@router.delete("/api_keys/{key_id}", responses=schemas.writing(ApiKeyShown))
async def delete_api_key(key_id: str, admin: AdminCaller, core: CoreOf) -> Response:
    """Revoke a key; it is refused everywhere within half a minute. The key stays listed as revoked."""
    if not is_identifier(key_id):
        raise not_found("api_key")
    async with core.services.key_admin.begin() as connection:
        revoked = await revoke_api_key(connection, key_id)
    if revoked is None:
        raise not_found("api_key")
    await _audit(core, admin, "api_key.revoked", revoked.id, revoked.merchant_id, Mode(revoked.mode))
    return json_answer(revoked.document())


async def _audit(
    core: Core, admin: Principal, action: str, object_id: str, merchant_id: str | None, mode: Mode
) -> None:
    """Write the act into the audit log; once, because the posting's key names the act and its object."""
    await core.services.book.post(
        Posting(
            key=f"{action}:{object_id}",
            merchant_id=merchant_id or PLATFORM,
            mode=mode,
            audit=AuditDraft(actor=f"api_key:{admin.key_id}", action=action, object_id=object_id),
        )
    )
