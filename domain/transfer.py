"""A transfer between two ledger accounts, in one commit.

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
    """A transfer settles with its commit or is refused by the ledger; nothing in between lasts."""

    PROCESSING = "processing"
    SETTLED = "settled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The whole state of a transfer.

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
    fx_quote: FxQuote | None = None

    def __post_init__(self) -> None:
        check_amount(self.amount_minor)
        assert self.source != self.destination, "a transfer moves money between two accounts"
        if self.fx_quote is not None:
            sold = (self.fx_quote.sell_amount_minor, self.fx_quote.sell_currency)
            assert (self.amount_minor, self.currency) == sold, "a transfer at a quote moves what the quote sells"


def transfer_document(transfer: Transfer) -> dict[str, Any]:
    """Return the transfer as the API shows it; the ledger fills in `entries` as it posts."""
    return {
        "id": transfer.id,
        "object": "transfer",
        "status": transfer.status.value,
        "amount": transfer.amount_minor,
        "currency": transfer.currency,
        "source": transfer.source,
        "destination": transfer.destination,
        "rail": transfer.rail,
        "fx_quote": transfer.fx_quote.id if transfer.fx_quote else None,
        "exchange": _exchange(transfer.fx_quote) if transfer.fx_quote else None,
        "entries": [],
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
