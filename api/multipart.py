"""Reading `multipart/form-data` (RFC 7578): text fields and files of a request, strictly.

Decides only the form; what a field must hold is each route's model.
"""

import re
from dataclasses import dataclass

from fastapi import Request

from api.errors import Problem

PARTS_MAX = 20
_BOUNDARY = re.compile(r'multipart/form-data\s*;.*?\bboundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'^content-disposition:\s*form-data\s*;.*?\bname="([^"]{1,100})"', re.IGNORECASE | re.MULTILINE)
_FILE = re.compile(rb"^content-disposition:[^\r\n]*\bfilename\*?=", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form as it was sent: text by name, and contents by name."""

    texts: dict[str, str]
    files: dict[str, bytes]


async def read_form(request: Request, *, files: frozenset[str]) -> Form:
    """Return a request's form. A part counts as a file if it says so, or if `files` names it.

    Raises:
        Problem: 415 another content type, 400 malformed, 413 too large. Not retryable.
    """
    found = _BOUNDARY.match(request.headers.get("content-type", ""))
    body = await request.body()
    if found is None:
        raise Problem(415, "content_type_unsupported", "Send the file as `Content-Type: multipart/form-data`.")
    boundary = (found[1] or found[2]).encode("latin-1", errors="replace")
    form = Form(texts={}, files={})
    for head, content in _parts(body, boundary):
        named = _NAME.search(head)
        if named is None:
            raise _malformed("A part has no name.")
        name = named[1].decode("utf-8", errors="replace")
        if name in form.texts or name in form.files:
            raise Problem(400, "duplicate_field", "A field appears twice in the form.")
        if name in files or _FILE.search(head):
            form.files[name] = content
            continue
        try:
            form.texts[name] = content.decode("utf-8")
        except UnicodeDecodeError:
            raise _malformed("A field is not UTF-8 text.") from None
        if "\x00" in form.texts[name]:
            raise Problem(422, "invalid_characters", "Text may not hold NUL.")
    return form


def _parts(body: bytes, boundary: bytes) -> list[tuple[bytes, bytes]]:
    """Return head and content of each part; a form that ends without its closing boundary is not whole."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise _malformed("It does not end with its boundary.")
    if len(pieces) > PARTS_MAX + 2:
        raise _malformed(f"It has more than {PARTS_MAX} parts.")
    parts = []
    for piece in pieces[1:-1]:
        line, _, rest = piece.partition(b"\r\n")
        if line.strip():
            raise _malformed("A boundary is followed by something else.")
        head, blank, content = (b"\r\n" + rest).partition(b"\r\n\r\n")
        if not blank:
            raise _malformed("A part has no end of its head.")
        parts.append((head.strip(), content))
    return parts


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed_form", f"The form is not well-formed. {detail}")
