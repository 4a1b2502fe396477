"""What a person found out about an order whose rail does not tell: taken as its answer, with the evidence kept."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.ledger import KeyClaim, Posting, RefusalCode
    from workflows.committing import commit_next_version
    from workflows.inquiry import Finding, persons_finding
    from workflows.update_answer import UpdateAnswer, key_conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOrder:
    """A person's finding about an order that waits for its rail: `approved` or `declined`, and what shows it."""

    outcome: str
    actor: str
    note: str
    claim: KeyClaim


class TakesFindings:
    """What a workflow with one order at a time inherits: the update by which a person ends its waiting."""

    _finding: Finding | None = None

    @abstractmethod
    def _awaits_rail(self) -> bool:
        """Tell whether an order's outcome is open and the rail is being asked about it."""

    @abstractmethod
    async def _take_claim(self, claim: KeyClaim, actor: str) -> bool:
        """Commit the key of an update; True if it belongs to something else."""

    @abstractmethod
    def _document(self) -> dict[str, Any]:
        """Return the object as the API shows it."""

    @workflow.update(name="resolve")
    async def resolve(self, request: ResolveOrder) -> UpdateAnswer:
        """Take a person's finding about the order that waits. Idempotent on the update's id."""
        if not self._awaits_rail():
            return self._conflict()
        if await self._take_claim(request.claim, f"{request.actor}: {request.note}"):
            return key_conflict()
        if not self._awaits_rail():
            # The rail told while the key was committed: what it says stands.
            return self._conflict()
        self._finding = persons_finding(request.outcome, by=request.actor, evidence=request.note)
        await workflow.wait_condition(lambda: not self._awaits_rail())
        self._finding = None
        return UpdateAnswer(document=self._document())

    def _conflict(self) -> UpdateAnswer:
        document = self._document()
        kind = document["object"]
        return UpdateAnswer(
            document=document,
            conflict_code=f"{kind}_state_conflict",
            conflict_detail=f"The {kind} is {document['status']}; its outcome is not open.",
        )


async def commit_claim(
    build: Callable[[int], Posting], *, object_id: str, version: int, open_statuses: frozenset[str]
) -> int | None:
    """Commit an update's key with the object as it is; return the version it got, None if the key is another's."""
    taken_version, result = await commit_next_version(
        build, object_id=object_id, version=version, open_statuses=open_statuses
    )
    refusal = result.refusal
    if refusal is not None and refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN:
        return None
    if refusal is not None and refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
        return version  # It ended in the meantime; the caller looks at its state.
    assert refusal is None, refusal
    return taken_version
