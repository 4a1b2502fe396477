"""The codec endpoint: the Temporal UI sends payloads here to show them in clear.

`POST /codec/decode` and `/codec/encode` with `{"payloads": [{"metadata": {name: base64}, "data": base64}]}`.
The *browser* calls it, from the UI's origin: hence CORS for the origins allowed, and no others.

Who may decode: whoever `authorize` accepts (the admin key as bearer, or the user's access token that
the UI passes on when its own sign-in is on). In the sandbox the UI has no sign-in, so a request from
this machine's loopback that carries an allowed `Origin` is enough (`loopback_suffices`): that keeps out
other web pages and other machines, not other programs of the same machine. Leave it off elsewhere.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from temporalio.api.common.v1 import Payloads
from temporalio.converter import PayloadCodec

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Above the largest payload Temporal takes (2 MB), with room for a page of history."""

Authorize = Callable[[Request], Awaitable[bool]]
Transform = Callable[[Sequence[Any]], Awaitable[list[Any]]]


def codec_router(
    codec: PayloadCodec,
    authorize: Authorize,
    *,
    allowed_origins: Sequence[str],
    loopback_suffices: bool = False,
) -> APIRouter:
    """Return the router of the codec endpoint, `/codec` included in its paths.

    `allowed_origins` are exact (`http://127.0.0.1:8233`), never `*`: credentials are allowed.
    """
    assert "*" not in allowed_origins, "credentials and a wildcard origin do not go together"
    origins = frozenset(origin.rstrip("/") for origin in allowed_origins)
    router = APIRouter(prefix="/codec", include_in_schema=False)

    async def transform(request: Request, change: Transform) -> Response:
        headers = _cors(request, origins)
        if not (await authorize(request) or (loopback_suffices and _from_loopback(request) and headers)):
            return JSONResponse({"message": "not allowed to decode"}, status_code=403, headers=headers)
        payloads = await _payloads(request)
        if payloads is None:
            return JSONResponse({"message": "the body is not a list of payloads"}, status_code=400, headers=headers)
        try:
            changed = Payloads(payloads=await change(payloads.payloads))
        except Exception:
            # Which key is missing or what was tampered with is for the log of the worker, not the browser.
            return JSONResponse({"message": "the payloads cannot be read"}, status_code=400, headers=headers)
        return JSONResponse(MessageToDict(changed), headers=headers)

    @router.post("/decode")
    async def decode(request: Request) -> Response:
        """Return the payloads in clear."""
        return await transform(request, codec.decode)

    @router.post("/encode")
    async def encode(request: Request) -> Response:
        """Return the payloads encrypted, so that the UI can start and signal workflows."""
        return await transform(request, codec.encode)

    @router.options("/{direction}")
    async def preflight(request: Request, direction: str) -> Response:
        """Answer the browser's question whether the UI's origin may call."""
        headers = _cors(request, origins)
        return Response(status_code=204 if headers else 403, headers=headers)

    return router


def _cors(request: Request, origins: frozenset[str]) -> dict[str, str]:
    origin = request.headers.get("origin", "")
    if origin not in origins:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": "authorization, authorization-extras, content-type, x-namespace",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }


def _from_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _payloads(request: Request) -> Payloads | None:
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_BYTES_MAX:
            return None
    try:
        body = json.loads(content)
        return ParseDict(body, Payloads(), ignore_unknown_fields=True) if isinstance(body, dict) else None
    except (ParseError, ValueError, RecursionError):
        return None
