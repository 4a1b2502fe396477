"""The resolution pack over HTTP: written to a temporary file, then sent; each one made is in the audit log."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import IO

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from api import schemas
from api.authentication import AdminCaller
from api.bodies import read_body, validate
from api.context import CoreOf
from api.reading import EVERYTHING
from api.safeguarding import platform, settled
from api.safeguarding_schemas import AskResolutionPack
from domain.identifiers import Mode, new_identifier
from domain.ledger import AuditDraft, Posting
from domain.payout_stop import PLATFORM
from domain.safeguarding import stamp
from domain.timestamps import rfc3339
from operations.resolution_pack import PackTerms, write_pack

router = APIRouter(prefix="/v1/safeguarding", tags=["safeguarding"])

CHUNK_BYTES = 256 * 1024

# One at a time: each reads every account, and its file is as large as the book's list of customers.
_packing = asyncio.Lock()


@router.post(
    "/resolution_pack",
    responses=schemas.streaming("application/zip", "The pack; its manifest lists what is in it."),
    openapi_extra=schemas.body(AskResolutionPack),
)
async def make_resolution_pack(request: Request, admin: AdminCaller, core: CoreOf) -> Response:
    """Return the resolution pack as of an instant as a ZIP file. It moves nothing, so it needs no idempotency key."""
    wanted = validate(AskResolutionPack, await read_body(request))
    mode = Mode(wanted.mode)
    at = await settled(core, wanted.as_of, param="as_of")
    terms = PackTerms(
        at=at,
        mode=mode,
        history=timedelta(days=wanted.days),
        statement_age_max=core.services.safeguarding.statement_age_max,
    )
    file = tempfile.TemporaryFile(prefix="ledgerline-resolution-pack-")  # noqa: SIM115 - closed when it was sent
    try:
        async with _packing, core.reads.connection(EVERYTHING) as connection:
            manifest = await write_pack(connection, file, terms, core.services.signer)
        await core.services.book.post(
            Posting(
                key=new_identifier("safeguarding_pack"),
                merchant_id=PLATFORM,
                mode=mode,
                audit=AuditDraft(
                    actor=platform(admin, mode).actor,
                    action="safeguarding.resolution_pack_made",
                    object_id=f"sfp_{stamp(at)}",
                    details={"as_of": rfc3339(at), "manifest_sha256": manifest, "days": wanted.days},
                ),
            )
        )
    except BaseException:
        file.close()
        raise
    name = f"resolution-pack-{mode}-{stamp(at)}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(file.tell())}
    return StreamingResponse(_sent(file), media_type="application/zip", headers=headers)


async def _sent(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        file.seek(0)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
