"""Keyed writes that need no workflow: one posting, with the key's claim in it."""

from api.context import Core
from api.errors import Problem
from api.idempotency import ClaimedKey, KeyedRequest, check_same_request, find_key
from domain.ledger import Posting, Refusal, RefusalCode


async def commit_keyed(core: Core, asked: KeyedRequest, posting: Posting, *, param: str) -> tuple[ClaimedKey, bool]:
    """Commit the posting once and return the key's claim, and whether an earlier request made it.

    Idempotent on the request's key. `param` is the field that names the object.

    Raises:
        Problem: 422 the key belongs to another request, 409 the object exists. Not retryable.
        ConnectionError: the database is away. Retryable with the same key.
    """
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
        return claimed, True
    result = await core.services.book.post(posting)
    claimed = await find_key(core.reads, asked)
    if claimed is not None:
        check_same_request(asked, claimed)
        return claimed, result.duplicate or result.refusal is not None
    assert result.refusal is not None, "a commit writes its key"
    raise _refused(result.refusal, param)


def _refused(refusal: Refusal, param: str) -> Problem:
    if refusal.code is RefusalCode.ALREADY_EXISTS:
        return Problem(409, "already_exists", "An object with this id exists already.", param=param)
    return Problem(422, refusal.code.value, refusal.detail, param=param)
