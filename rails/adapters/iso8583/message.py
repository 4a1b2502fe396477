"""ISO 8583:1987 messages: which fields travel, how they are written, and how a frame becomes a message again.

ASCII fields and bitmaps, two bytes of length before each message (decision 0030). Card numbers are in the
encoded bytes only: a message shows neither number nor expiry.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import iso8583
from iso8583.specs import default_ascii

LENGTH_BYTES = 2
FRAME_BYTES_MAX = 4096

# Message types: the last digit of a repeat is one more.
AUTHORIZATION, SALE, ADVICE, REVERSAL, NETWORK = "0100", "0200", "0220", "0400", "0800"
SIGN_ON, ECHO = "001", "301"
PURCHASE, REFUND = "000000", "200000"

_SPEC = copy.deepcopy(default_ascii)


class GarbledMessageError(ValueError):
    """A frame that is no message: nothing is known. Retryable by asking only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message by its type and data elements, as digits and text; elements of the card stay out of its repr."""

    mti: str
    elements: Mapping[str, str] = field(repr=False)

    def get(self, element: int) -> str | None:
        """Return a data element, None where the message has none."""
        return self.elements.get(str(element))

    @property
    def stan(self) -> str:
        """Return the system trace audit number, by which an answer finds its question."""
        return self.elements.get("11", "")


def repeat_of(mti: str) -> str:
    """Return the type of a repeated message: 0400 becomes 0401."""
    return mti[:3] + "1"


def answer_to(mti: str) -> str:
    """Return the type that answers a message or its repeat: 0220 and 0221 are answered by 0230."""
    return f"{mti[:2]}{int(mti[2]) + 1}0"


def encode(message: Message) -> bytes:
    """Return the frame of a message, its length first.

    Raises:
        iso8583.EncodeError: an element does not fit its field. Not retryable.
    """
    document = {"t": message.mti, **message.elements}
    raw, _ = iso8583.encode(document, _SPEC)
    return len(raw).to_bytes(LENGTH_BYTES, "big") + bytes(raw)


def decode(body: bytes) -> Message:
    """Return the message of a frame's body.

    Raises:
        GarbledMessageError: it is none.
    """
    try:
        document, _ = iso8583.decode(body, _SPEC)
    except iso8583.DecodeError as error:
        # The error's own text quotes what it failed on.
        raise GarbledMessageError("the frame is no ISO 8583 message") from error
    elements = {name: value for name, value in document.items() if name.isdigit()}
    return Message(mti=document["t"], elements=elements)
