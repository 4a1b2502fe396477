"""The references a bank sees, derived from the rail key: the same on every re-send, and back again from a report.

Decides how a key is spelled in the SEPA character set; what may be asked with it is the adapter's.
"""

import hashlib
import re
import unicodedata
import uuid

REFERENCE_CHARACTERS_MAX = 35
_OURS = re.compile(r"^[a-z]{2}-[0-9a-z]{26}:[0-9]{1,3}$")
_KEY = re.compile(r"^[A-Za-z0-9_.:]+$")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]+")
# Letters that do not decompose into a Latin letter and an accent (EPC217-08, best practices for SEPA).
_SPELLED = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
)
_SEPA_SPELLED = str.maketrans({"&": "+", "_": "-", "’": "'"})


def reference_of(rail_key: str) -> str:
    """Return the message, instruction and end-to-end id of an order: `po_01h…:1` is `po-01h…:1`.

    One spelling for one key: `_` is not in the SEPA character set, and a key has no `-` of its own.

    Raises:
        ValueError: a key of another form, such as a capture's. Not retryable.
    """
    if not _KEY.match(rail_key) or len(rail_key) > REFERENCE_CHARACTERS_MAX:
        raise ValueError(f"{rail_key} has no spelling of at most {REFERENCE_CHARACTERS_MAX} SEPA characters")
    return rail_key.replace("_", "-")


def rail_key_of(reference: str | None) -> str | None:
    """Return the rail key a reference was made of, None for a reference that is none of ours.

    Others may use the account too: their references are not ours to answer for.
    """
    return reference.replace("-", "_") if reference and _OURS.match(reference) else None


def uetr_of(rail_key: str) -> str:
    """Return the unique end-to-end transaction reference of an order: a UUID in the form of version 4, derived.

    The schema asks for version 4's form; deriving the bits keeps a re-send the same transaction.
    """
    digest = bytearray(hashlib.sha256(f"uetr {rail_key}".encode()).digest()[:16])
    return str(uuid.UUID(bytes=bytes(digest), version=4))


def latin(value: str) -> str:
    """Return a name without accents and with other Latin letters spelled out: `Søren Müßig` is `Soren Mussig`."""
    decomposed = unicodedata.normalize("NFKD", value.translate(_SPELLED))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def sepa_text(value: str, characters_max: int = 70) -> str:
    """Return a name in the SEPA character set: `Müller & Söhne` is `Muller + Sohne`; never empty."""
    words = _FORBIDDEN.sub(" ", latin(value).translate(_SEPA_SPELLED)).split()
    return " ".join(words)[:characters_max].strip().strip("/") or "NOTPROVIDED"
