"""What may be asked of webhook endpoints: fields, and which addresses and event types are taken."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.bodies import FreeText, Instant, Metadata, WriteRequest
from api.errors import Problem
from domain.event_types import EVENT_TYPE_NAMES
from domain.identifiers import Mode
from domain.webhooks import ALL_TYPES
from events.addresses import is_public

_TYPE = re.compile(r"[a-z_]+\.(\*|[a-z_]+)")
_ADDRESS = re.compile(r"[0-9.]+|\[.*\]")
OVERLAP_SECONDS_MAX = 604_800


def _check_types(types: list[str]) -> list[str]:
    for one in types:
        if one == ALL_TYPES:
            continue
        known = _TYPE.fullmatch(one) is not None and any(
            name == one or (one.endswith(".*") and name.startswith(one[:-1])) for name in EVENT_TYPE_NAMES
        )
        if not known:
            raise PydanticCustomError("unknown_event_type", "There is no such event type; see docs/webhooks.md.")
    return sorted(set(types))


EventTypes = Annotated[
    list[str],
    AfterValidator(_check_types),
    Field(min_length=1, max_length=100, examples=[["charge.*", "refund.failed"]]),
]
Url = Annotated[str, Field(min_length=1, max_length=2_000, examples=["https://shop.example/webhooks"])]
InFlight = Annotated[int, Field(ge=1, le=32, description="Requests at a time when the ordering is `parallel`.")]
Signature = Literal["v1", "v1a"]
Signatures = Annotated[list[Signature], Field(min_length=1, max_length=2)]


def _symmetric() -> list[Signature]:
    return ["v1"]


class CreateWebhookEndpoint(WriteRequest):
    """An endpoint. `start_after` is the sequence after which it hears of events, now when it is not given."""

    url: Url
    event_types: EventTypes = Field(default_factory=lambda: [ALL_TYPES])
    ordering: Literal["strict", "parallel"] = "parallel"
    in_flight_max: InFlight = 8
    signatures: Signatures = Field(default_factory=_symmetric)
    description: FreeText | None = None
    metadata: Metadata = Field(default_factory=dict)
    start_after: Annotated[int, Field(ge=0, le=2**53)] | None = None


class ChangeWebhookEndpoint(WriteRequest):
    """What is not named stays as it is. An endpoint that is enabled again goes on where it stopped."""

    url: Url | None = None
    event_types: EventTypes | None = None
    ordering: Literal["strict", "parallel"] | None = None
    in_flight_max: InFlight | None = None
    description: FreeText | None = None
    metadata: Metadata | None = None
    status: Literal["enabled", "disabled"] | None = None


class RotateSecret(WriteRequest):
    """For how long the old secret signs beside the new one; a day when it is not given."""

    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_SECONDS_MAX)] = 86_400


class RecoverDeliveries(WriteRequest):
    """From when on everything that failed is to be sent again."""

    since: Instant


class ReplayEvents(WriteRequest):
    """A window of events, by sequence (both ends included) or by time, to one endpoint or all that are enabled."""

    from_sequence: Annotated[int, Field(ge=1, le=2**53)] | None = None
    to_sequence: Annotated[int, Field(ge=1, le=2**53)] | None = None
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None
    endpoint: Annotated[str, Field(pattern=r"^we_[a-z0-9]{1,60}$")] | None = None


def check_url(url: str, mode: Mode) -> str:
    """Return a URL that requests may go to. Live ones use TLS and name no private address.

    What a name resolves to is judged at every connection (`events/addresses.py`).

    Raises:
        Problem: 422 `url_invalid`. Not retryable.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _url_invalid("`url` is not a URL.") from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or any(c.isspace() for c in url):
        raise _url_invalid("`url` is an absolute http(s) URL in ASCII.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _url_invalid("`url` carries neither credentials nor a fragment.")
    if mode is Mode.LIVE:
        if parts.scheme != "https":
            raise _url_invalid("Live endpoints use https.")
        literal = ":" in host or _ADDRESS.fullmatch(host) is not None
        if (literal and not is_public(host)) or host == "localhost" or host.endswith((".localhost", ".internal")):
            raise _url_invalid("Live endpoints have public addresses.")
    return url


def _url_invalid(detail: str) -> Problem:
    return Problem(422, "url_invalid", detail, param="url")
