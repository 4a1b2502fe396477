"""Committing an object's next version, also when this task had run before and got further than we know."""

from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.ledger import Posting, PostingResult, RefusalCode
    from workflows import effects


def start_abandoned(object_id: str) -> ApplicationError:
    """Return the failure of a run whose start was given up before it began: its client was told that nothing happens.

    The first posting's key is taken and yet nothing is stored: the API holds it (`api/start_fence.py`). The
    run fails, so that its id, and the client's key, may be used again.
    """
    return ApplicationError(f"the start of {object_id} was given up", type="StartAbandoned", non_retryable=True)


async def commit_next_version(
    build: Callable[[int], Posting], *, object_id: str, version: int, open_statuses: frozenset[str]
) -> tuple[int, PostingResult]:
    """Commit `build(version + 1)` and return the version and result of the commit.

    A crashed run of the same workflow task may have committed another step as that version (say
    `unknown`, where the repeated order has now got its answer). If what is stored is still open, this
    step goes on after it. If it is final, an earlier run may have got there by this very step, after the
    other one: its commit is looked for up to the version that is stored, where every key is taken. If it is
    not there either, the refusal is returned for the caller to end with it.

    Raises:
        ApplicationError: the start of this run was given up. Not retryable: it fails the run.
    """
    while True:
        version += 1
        result = await effects.post(build(version))
        refusal = result.refusal
        if refusal is None or refusal.code is not RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
            return version, result
        stored = result.documents.get(object_id)
        if stored is None:
            raise start_abandoned(object_id)
        if stored["status"] not in open_statuses and version >= result.versions.get(object_id, 0):
            return version, result
