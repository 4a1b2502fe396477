"""A transfer between two ledger accounts: at once, in two phases (held, then posted or released), or back again.

In one currency it is one movement with two opposing entries; across currencies two movements, one in
each, at the rate of a quote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.fx import FxQuote
from domain.identifiers import Mode
from domain.money import check_amount
from domain.timestamps import rfc3339


class TransferStatus(StrEnum):
    """A transfer settles with its commit or is refused by the ledger, unless it is made in two phases.

    Then it is PENDING while money is set aside for it, and ends SETTLED if any of that was posted,
    else VOIDED or EXPIRED.
    """

    PROCESSING = "processing"
    PENDING = "pending"
    SETTLED = "settled"
    VOIDED = "voided"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPost:
    """Money of a hold that was posted; `id` is the tag of the request's idempotency key."""

    id: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The whole state of a transfer.

    `pending`: made in two phases; `expires_at` is set as the hold is made, `expires_in_seconds` after it.
    `posts` are the parts of the hold posted so far. `reverses`: the transfer this one undoes. `entries`
    are those of earlier commits, as the API shows them; each commit adds its own.
    `amount_minor` of `currency` leave the source. `fx_quote`: what arrives at the destination is the
    quote's bought amount. `funding`: the source is the sandbox funding account, not one of the merchant's
    (test mode only).
    """

    id: str
    merchant_id: str
    mode: Mode
    amount_minor: int
    currency: str
    source: str
    destination: str
    workflow_id: str
    created_at: datetime
    funding: bool = False
    rail: str = "book"
    effective_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    status: TransferStatus = TransferStatus.PROCESSING
    version: int = 0
    failure_code: str | None = None
    failure_detail: str | None = None
    pending: bool = False
    expires_in_seconds: int | None = None
    expires_at: datetime | None = None
    posts: tuple[TransferPost, ...] = ()
    entries: tuple[Mapping[str, Any], ...] = ()
    reverses: str | None = None
    reason: str | None = None
    fx_quote: FxQuote | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        assert self.source != self.destination, "a transfer moves money between two accounts"
        assert self.pending == (self.expires_in_seconds is not None), "a hold, and only a hold, expires"
        assert 0 <= self.amount_posted_minor <= self.amount_minor, "no more is posted than was held"
        if self.fx_quote is not None:
            sold = (self.fx_quote.sell_amount_minor, self.fx_quote.sell_currency)
            assert (self.amount_minor, self.currency) == sold, "a transfer at a quote moves what the quote sells"
            assert not self.pending and self.reverses is None, "a rate is not held, and not turned around"

    @property
    def amount_posted_minor(self) -> int:
        """What has moved so far."""
        if self.pending:
            return sum(post.amount_minor for post in self.posts)
        return self.amount_minor if self.status is TransferStatus.SETTLED else 0


def transfer_document(transfer: Transfer) -> dict[str, Any]:
    """Return the transfer as the API shows it; the ledger adds to `entries` as it posts.

    `reversed_by` is read from the reversal itself whenever a transfer is shown.
    """
    return {
        "id": transfer.id,
        "object": "transfer",
        "status": transfer.status.value,
        "amount": transfer.amount_minor,
        "currency": transfer.currency,
        "source": transfer.source,
        "destination": transfer.destination,
        "rail": transfer.rail,
        "entries": [dict(entry) for entry in transfer.entries],
        "amount_posted": transfer.amount_posted_minor,
        "posts": [{"id": post.id, "amount": post.amount_minor} for post in transfer.posts],
        "expires_at": rfc3339(transfer.expires_at),
        "reverses": transfer.reverses,
        "reversed_by": None,
        "reason": transfer.reason,
        "fx_quote": transfer.fx_quote.id if transfer.fx_quote else None,
        "exchange": _exchange(transfer.fx_quote) if transfer.fx_quote else None,
        "effective_at": rfc3339(transfer.effective_at),
        "metadata": dict(transfer.metadata),
        "failure_code": transfer.failure_code,
        "failure_detail": transfer.failure_detail,
        "workflow_id": transfer.workflow_id,
        "livemode": transfer.mode is Mode.LIVE,
        "created_at": rfc3339(transfer.created_at),
    }


def _exchange(quote: FxQuote) -> dict[str, Any]:
    return {
        "rate": quote.rate,
        "sell_currency": quote.sell_currency,
        "sell_amount": quote.sell_amount_minor,
        "buy_currency": quote.buy_currency,
        "buy_amount": quote.buy_amount_minor,
    }
