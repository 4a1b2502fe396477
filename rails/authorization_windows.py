"""How long an authorization may wait for its capture, by rail and scheme (semantics rule 14).

Figures are in `authorization_windows.json`, with their source and date.
"""

import json
from pathlib import Path
from typing import Any


def _read() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((Path(__file__).parent / "authorization_windows.json").read_text("utf-8"))
    assert document["source"] and document["as_of"], "a table of windows names its source and date"
    return document


_WINDOWS = _read()


def authorization_seconds(rail: str, brand: str | None) -> int:
    """Return the shorter of what the rail and the card's scheme allow; the default where neither says anything."""
    stated = [_WINDOWS["rails"].get(rail), _WINDOWS["schemes"].get(brand or "")]
    return int(min((one for one in stated if one is not None), default=_WINDOWS["default_seconds"]))
