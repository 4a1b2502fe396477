"""A rail's own table of decline codes, kept as data with its source and date (semantics rule 11)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.rail import DeclineClass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclineTable:
    """What each code, and each advice that comes with one, permits next."""

    codes: Mapping[str, DeclineClass]
    advice: Mapping[str, DeclineClass]

    def classify(self, code: str, advice: str | None = None) -> DeclineClass:
        """Return what a decline permits next. Advice wins; a code nobody has looked at permits nothing."""
        if advice is not None and advice in self.advice:
            return self.advice[advice]
        return self.codes.get(code, DeclineClass.HARD)


def read_decline_table(path: Path) -> DeclineTable:
    """Return the table of a JSON file: `source`, `as_of`, `codes` and, where the rail gives any, `advice`.

    Raises:
        AssertionError, ValueError: the file is not such a table. Not retryable.
    """
    document = json.loads(path.read_text("utf-8"))
    assert document["source"] and document["as_of"], "a table of codes names its source and date"
    return DeclineTable(
        codes={code: DeclineClass(permits) for code, permits in document["codes"].items()},
        advice={advice: DeclineClass(permits) for advice, permits in document.get("advice", {}).items()},
    )
