"""The catalogue of event types is complete: whatever the code emits stands in `domain/event_types.py`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from domain.event_types import EVENT_TYPE_NAMES, EVENT_TYPES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("activities", "api", "domain", "operations", "reconciliation", "vault", "workflows")


def emitted() -> Iterator[tuple[str, str]]:
    """Every type given to `EventDraft(type=…)` or as `event=…`: a pattern, with where it stands."""
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            of_draft = isinstance(node.func, ast.Name) and node.func.id == "EventDraft"
            for keyword in node.keywords:
                if keyword.arg == "event" or (of_draft and keyword.arg == "type"):
                    for pattern in patterns(keyword.value):
                        yield pattern, f"{path.relative_to(ROOT)}:{node.lineno}"


def patterns(value: ast.expr) -> Iterator[str]:
    """A constant as it stands, what is computed inside text as a wildcard; variables are given elsewhere."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield re.escape(value.value)
    elif isinstance(value, ast.JoinedStr):
        yield "".join(
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[a-z_]+" for part in value.values
        )
    elif isinstance(value, ast.IfExp):
        yield from patterns(value.body)
        yield from patterns(value.orelse)


def test_every_type_emitted_is_in_the_catalogue() -> None:
    """A new type is a row of `domain/event_types.py`: name, object and a sentence for people."""
    found = [
        (pattern, place) for pattern, place in emitted() if re.fullmatch(r"[a-z_\\\[\]+.-]*\.[a-z_\\\[\]+-]*", pattern)
    ]
    assert len(found) >= 15
    unlisted = [
        (pattern, place)
        for pattern, place in found
        if not any(re.fullmatch(pattern, name) for name in EVENT_TYPE_NAMES)
    ]
    assert unlisted == []


def test_types_are_named_and_explained() -> None:
    """`object.verb`, each once, with a sentence; an orphan is named after its charge and held as an exception."""
    assert len(EVENT_TYPE_NAMES) == len(EVENT_TYPES)
    for one in EVENT_TYPES:
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", one.name), one.name
        assert one.name.startswith((f"{one.object}.", "charge.orphan_")), one.name
        assert one.meaning.endswith(".") and one.schema_version >= 1
