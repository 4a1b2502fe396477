"""Reading `multipart/form-data`: text fields and files of a request. What a field must hold is each route's model."""

from dataclasses import dataclass

from fastapi import Request
from starlette.exceptions import HTTPException

from api.errors import Problem

PARTS_MAX = 20
TEXT_BYTES_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form as it was sent: text by name, and contents by name."""

    texts: dict[str, str]
    files: dict[str, bytes]


async def read_form(request: Request, *, files: frozenset[str]) -> Form:
    """Return a request's form. A part counts as a file if it has a file's name, or if `files` names it.

    Raises:
        Problem: 415 another content type, 400 malformed, 413 too large. Not retryable.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "content_type_unsupported", "Send the file as `Content-Type: multipart/form-data`.")
    form = Form(texts={}, files={})
    try:
        async with request.form(max_files=PARTS_MAX, max_fields=PARTS_MAX, max_part_size=TEXT_BYTES_MAX) as sent:
            for name, value in sent.multi_items():
                if name in form.texts or name in form.files:
                    raise Problem(400, "duplicate_field", "A field appears twice in the form.")
                if not isinstance(value, str):
                    form.files[name] = await value.read()
                elif name in files:
                    form.files[name] = value.encode()
                elif "\x00" in value:
                    raise Problem(422, "invalid_characters", "Text may not hold NUL.")
                else:
                    form.texts[name] = value
    except HTTPException as error:
        raise Problem(400, "malformed_form", f"The form is not well-formed. {error.detail}") from None
    return form
