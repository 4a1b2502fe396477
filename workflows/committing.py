"""Committing an object's next version, also when this task had run before and got further than we know."""

from collections.abc import Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.ledger import Posting, PostingResult, RefusalCode
    from workflows import effects


async def commit_next_version(
    build: Callable[[int], Posting], *, object_id: str, version: int, open_statuses: frozenset[str]
) -> tuple[int, PostingResult]:
    """Commit `build(version + 1)` and return the version and result of the commit.

    A crashed run of the same workflow task may have committed another step as that version (say
    `unknown`, where the repeated order has now got its answer). If what is stored is still open, this
    step goes on after it; if it is final, the refusal is returned for the caller to end with it.
    """
    while True:
        version += 1
        result = await effects.post(build(version))
        refusal = result.refusal
        if refusal is None or refusal.code is not RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
            return version, result
        if result.documents[object_id]["status"] not in open_statuses:
            return version, result
