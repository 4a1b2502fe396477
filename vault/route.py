"""`POST /v1/tokens`: the one request that carries a card number.

The body is read and checked here by hand, not by a model of the web framework: a framework's
validation error quotes its input, and this input must not be quoted anywhere.
"""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import psycopg
import psycopg_pool
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from domain.identifiers import Mode
from vault.cards import CardRefusedError, parse_card
from vault.tokens import ROUTE, IssuedToken, KeyReusedError, Vault

BODY_BYTES_MAX = 8_192
_FIELDS = frozenset({"card", "idempotency_key"})
_log = logging.getLogger(__name__)

_KEY = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[ -~]{1,255}$"}
_OPENAPI_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["card"],
                    "additionalProperties": False,
                    "properties": {
                        "card": {
                            "type": "object",
                            "required": ["number", "exp_month", "exp_year"],
                            "additionalProperties": False,
                            "properties": {
                                "number": {"type": "string", "minLength": 12, "maxLength": 23},
                                "exp_month": {"type": "integer", "minimum": 1, "maximum": 12},
                                "exp_year": {"type": "integer"},
                                "cvc": {"type": "string", "minLength": 3, "maxLength": 4},
                            },
                        },
                        "idempotency_key": _KEY,
                    },
                }
            }
        },
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "1-255 printable ASCII characters; or the body field `idempotency_key`. One is required.",
            "schema": _KEY,
        }
    ],
    "responses": {
        "201": {
            "description": "The token of the card.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["id", "object", "brand", "last4", "fingerprint", "exp_month", "exp_year"],
                        "properties": {
                            "id": {"type": "string"},
                            "object": {"const": "token"},
                            "brand": {"type": "string"},
                            "last4": {"type": "string"},
                            "bin_country": {"type": ["string", "null"]},
                            "fingerprint": {"type": "string"},
                            "exp_month": {"type": "integer"},
                            "exp_year": {"type": "integer"},
                        },
                    }
                }
            },
        }
    },
}


class ProblemFactory(Protocol):
    """Makes the exception that the API turns into a problem document."""

    def __call__(self, status: int, code: str, detail: str, *, param: str | None = None) -> Exception:
        """Return the exception of one problem; `param` is the wire name of the field at fault."""
        ...


def create_router(vault: Vault, *, principal: Callable[..., Any], problem: ProblemFactory) -> APIRouter:
    """Return the router of `POST /v1/tokens`.

    `principal` is a FastAPI dependency yielding an object with `.merchant_id` and `.mode`.
    Answers 201 with the token; a replay of the same key and card answers the original with
    `Idempotent-Replayed: true`.
    """
    router = APIRouter()

    @router.post(ROUTE, status_code=201, tags=["tokens"], openapi_extra=_OPENAPI_BODY)
    async def create_token(request: Request, caller: Annotated[Any, Depends(principal)]) -> JSONResponse:
        """Put a card into the vault and return its token."""
        body = _parse(await _read(request, problem), problem)
        key = _idempotency_key(request.headers.get("Idempotency-Key"), body, problem)
        try:
            issued = await _tokenize(vault, body, key, str(caller.merchant_id), Mode(caller.mode))
        except CardRefusedError as refused:
            raise problem(422, refused.code, refused.detail, param=refused.param) from None
        except KeyReusedError as reused:
            detail = f"This idempotency key was used for {reused.object_id} with another request."
            raise problem(422, "idempotency_key_reused", detail, param=reused.param) from None
        except (ConnectionError, psycopg.OperationalError, psycopg_pool.PoolTimeout):
            raise problem(
                503, "vault_unavailable", "The vault cannot be reached right now. Retry with the same key."
            ) from None
        except Exception as error:
            # Frames below hold the card; a traceback printed with its locals would hold it too.
            _log.error("tokenization failed: %s", type(error).__name__)
            raise problem(
                500, "internal_error", "Something went wrong on our side. Quote the request id when you report it."
            ) from None
        headers = {"Idempotent-Replayed": "true"} if issued.replayed else {}
        return JSONResponse(issued.document, status_code=201, headers=headers)

    return router


async def _tokenize(vault: Vault, body: dict[str, Any], key: str, merchant_id: str, mode: Mode) -> IssuedToken:
    card = parse_card(body.get("card"), today=datetime.now(UTC).date())
    claim = await vault.claim(card, key=key, merchant_id=merchant_id, mode=mode)
    return await vault.tokenize(card, merchant_id=merchant_id, mode=mode, claim=claim)


async def _read(request: Request, problem: ProblemFactory) -> bytes:
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_BYTES_MAX:
            raise problem(413, "body_too_large", f"A token request has at most {BODY_BYTES_MAX} bytes.")
    return content


def _parse(content: bytes, problem: ProblemFactory) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise problem(400, "malformed_json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise problem(422, "body_must_be_object", "The body must be a JSON object.")
    if body.keys() - _FIELDS:
        raise problem(422, "unknown_field", "The body may hold card and idempotency_key only.")
    return body


def _idempotency_key(header: str | None, body: dict[str, Any], problem: ProblemFactory) -> str:
    field = body.get("idempotency_key")
    if field is not None and not isinstance(field, str):
        raise problem(400, "idempotency_key_invalid", "The key must be a string.", param="idempotency_key")
    if header is not None and field is not None and header != field:
        raise problem(400, "idempotency_key_mismatch", "Header and body carry different keys.", param="idempotency_key")
    key = header if header is not None else field
    if key is None:
        raise problem(400, "idempotency_key_required", "Send an Idempotency-Key.", param="idempotency_key")
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        detail = "The key must be 1 to 255 printable ASCII characters."
        raise problem(400, "idempotency_key_invalid", detail, param="idempotency_key")
    return key
