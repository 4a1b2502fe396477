"""Foreign exchange quotes: a rate that is kept for a minute and good for one transfer."""

from datetime import datetime, timedelta
from fractions import Fraction

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, Merchant, MerchantCaller
from api.bodies import Amount, Currency, WriteRequest
from api.bookkeeping import commit_keyed
from api.context import Core, CoreOf
from api.errors import Problem, temporarily_unavailable
from api.idempotency import check_same_request, claimed_key, key_statement, read_write
from api.objects import read_object
from api.reading import Statement
from api.rendering import json_answer
from domain.fx import (
    FxQuote,
    RatesUnavailableError,
    RateTable,
    bought_minor,
    client_rate,
    quote_document,
    round_rate,
    sold_minor,
    write_rate,
)
from domain.identifiers import Mode, new_identifier
from domain.ledger import AuditDraft, EventDraft, Posting, Record, RecordKind
from domain.money import AMOUNT_MINOR_MAX

router = APIRouter(prefix="/v1/fx", tags=["fx"])

_NOW = Statement("SELECT clock_timestamp() AS now")


class CreateFxQuote(WriteRequest):
    """An exchange to be priced. Name what is sold or what is bought; the other amount is the answer."""

    sell_currency: Currency
    buy_currency: Currency
    sell_amount: Amount | None = None
    buy_amount: Amount | None = None


@router.post("/quotes", responses=schemas.creation(schemas.FxQuote), openapi_extra=schemas.body(CreateFxQuote))
async def create_fx_quote(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Price an exchange. Moves nothing; the rate is kept until `expires_at` for one transfer."""
    asked, wanted = await read_write(request, merchant, CreateFxQuote)
    _check_sides(wanted)
    keys, clock = await core.reads.rows(merchant.scope, key_statement(asked), _NOW)
    claimed, replayed = claimed_key(keys), True
    if claimed is not None:
        # A repeat is answered from the books, whatever rates there are now.
        check_same_request(asked, claimed)
    else:
        quote = _priced(core, merchant, wanted, now=clock[0]["now"])
        posting = Posting(
            key=f"{quote.id}:{quote.version}",
            merchant_id=merchant.merchant_id,
            mode=merchant.mode,
            audit=AuditDraft(actor=merchant.actor, action="fx_quote.created", object_id=quote.id),
            records=(
                Record(kind=RecordKind.FX_QUOTE, id=quote.id, version=quote.version, document=quote_document(quote)),
            ),
            events=(EventDraft(type="fx_quote.created", object_id=quote.id, version=quote.version),),
            claim=asked.claim("fx_quote", quote.id),
        )
        claimed, replayed = await commit_keyed(core, asked, posting, param="id")
    return json_answer(claimed.document, 201, {"Idempotent-Replayed": "true"} if replayed else None)


@router.get("/quotes/{quote_id}", responses=schemas.reading(schemas.FxQuote))
async def get_fx_quote(quote_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a quote: open, used, or expired."""
    return json_answer(await read_object(core.reads, principal.scope, "fx_quote", quote_id))


def _check_sides(wanted: CreateFxQuote) -> None:
    """Let a request pass that names two currencies and one amount.

    Raises:
        Problem: 422. Not retryable.
    """
    if wanted.sell_currency == wanted.buy_currency:
        raise Problem(422, "currencies_must_differ", "An exchange is between two currencies.", param="buy_currency")
    if wanted.sell_amount is None and wanted.buy_amount is None:
        raise Problem(422, "sell_amount_required", "Name `sell_amount` or `buy_amount`.", param="sell_amount")
    if wanted.sell_amount is not None and wanted.buy_amount is not None:
        raise Problem(
            422, "buy_amount_not_allowed", "Name `sell_amount` or `buy_amount`, not both.", param="buy_amount"
        )


def _priced(core: Core, merchant: Merchant, wanted: CreateFxQuote, *, now: datetime) -> FxQuote:
    """Return the quote of a request at the rates of this moment.

    Raises:
        Problem: 422 there is no rate for the pair, or an amount is out of range, not retryable; 503
            there are no rates, retryable.
    """
    table = _rates(core, merchant.mode)
    mid = _mid(table, wanted)
    spread = core.services.fx_spread_basis_points
    rate = client_rate(mid, spread)
    sold, bought = _amounts(wanted, rate)
    return FxQuote(
        id=new_identifier("fxq"),
        merchant_id=merchant.merchant_id,
        mode=merchant.mode,
        sell_currency=wanted.sell_currency,
        sell_amount_minor=sold,
        buy_currency=wanted.buy_currency,
        buy_amount_minor=bought,
        fixed_side="sell" if wanted.sell_amount is not None else "buy",
        rate=write_rate(rate),
        mid_rate=write_rate(round_rate(mid)),
        spread_basis_points=spread,
        rate_source=table.source,
        rate_as_of=table.as_of,
        created_at=now,
        expires_at=now + timedelta(seconds=core.services.fx_quote_seconds),
    )


def _rates(core: Core, mode: Mode) -> RateTable:
    """Return today's rates; sandbox rates never price live money.

    Raises:
        Problem: 503 `fx_rates_unavailable`. Retryable.
    """
    source = core.services.fx_rates
    try:
        table = source.read() if source is not None else None
    except RatesUnavailableError:
        table = None
    if table is None or (table.sandbox and mode is Mode.LIVE):
        unavailable = temporarily_unavailable("There are no exchange rates to quote from right now.")
        raise Problem(503, "fx_rates_unavailable", unavailable.detail, headers=unavailable.headers)
    return table


def _mid(table: RateTable, wanted: CreateFxQuote) -> Fraction:
    mid = table.mid(wanted.sell_currency, wanted.buy_currency)
    if mid is not None:
        return mid
    lacks_sell = table.mid(wanted.sell_currency, table.base) is None
    param = "sell_currency" if lacks_sell else "buy_currency"
    raise Problem(422, "currency_not_exchanged", "There is no exchange rate for this currency.", param=param)


def _amounts(wanted: CreateFxQuote, rate: Fraction) -> tuple[int, int]:
    """Return what is sold and what is bought, in minor units of each.

    Raises:
        Problem: 422, the computed side is zero or above the largest amount. Not retryable.
    """
    currencies = {"sell_currency": wanted.sell_currency, "buy_currency": wanted.buy_currency}
    if wanted.sell_amount is not None:
        param, sold = "sell_amount", wanted.sell_amount
        bought = bought_minor(sold, rate, **currencies)
    else:
        assert wanted.buy_amount is not None
        param, bought = "buy_amount", wanted.buy_amount
        sold = sold_minor(bought, rate, **currencies)
    if bought == 0:
        raise Problem(422, "amount_too_small", "This amount buys less than one minor unit.", param=param)
    if max(sold, bought) > AMOUNT_MINOR_MAX:
        raise Problem(422, "amount_too_large", "The other side would be above the largest amount taken.", param=param)
    return sold, bought
