"""What an update of a running workflow answers, whatever its object: a wire contract, fields only ever added."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAnswer:
    """The object after an update, or the conflict that kept it as it was."""

    document: dict[str, Any] | None = None
    conflict_code: str | None = None
    conflict_detail: str | None = None
    remaining_minor: int | None = None


def key_conflict() -> UpdateAnswer:
    """Return the conflict of an idempotency key that belongs to another request."""
    return UpdateAnswer(conflict_code="idempotency_key_reused", conflict_detail="The key was used for another request.")
