"""Key files only their owner can read, created once and replaced whole.

Decides permissions and atomicity. Decides nothing about what the keys are for.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

OWNER_ONLY = 0o600


class KeyFileError(Exception):
    """A key file is missing, readable by others, or not what it should be. Not retryable."""


def read_key_file(path: Path) -> dict[str, Any]:
    """Return the JSON object in a key file.

    Raises:
        KeyFileError: missing, not JSON, or readable by anyone but its owner. Not retryable.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others; run `chmod 600` on it")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KeyFileError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        # The parser's own message would quote the file.
        raise KeyFileError(f"{path} is not a key file") from None
    if not isinstance(content, dict):
        raise KeyFileError(f"{path} is not a key file")
    return content


def create_key_file(path: Path, content: dict[str, Any]) -> bool:
    """Create a key file of mode 0600 and tell whether it was this call that did it.

    Of several processes starting at once exactly one creates the file; the others read it.
    """
    temporary = _write_temporary(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_folder(path.parent)
    return True


def replace_key_file(path: Path, content: dict[str, Any]) -> None:
    """Put new content in place of a key file; a reader sees the old or the new, never a part."""
    _write_temporary(path, content).replace(path)
    _sync_folder(path.parent)


def _write_temporary(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
