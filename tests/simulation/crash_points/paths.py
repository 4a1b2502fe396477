"""The paths of money that are walked while the process is killed: what is prepared in peace, what is done in danger."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.crowd import Client, Document

Prepare = Callable[[Client, str], Awaitable[Document]]
Act = Callable[[Client, str, Document], Awaitable[Any]]

ACCOUNT = "acct_crash"
ACCOUNT_FUNDS_MINOR = 50_000_000
IBAN = "DE89370400440532013000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """`kind` groups paths that share points: a point is visited once for each kind, on the first path that has it."""

    name: str
    kind: str
    act: Act
    prepare: Prepare | None = None


async def _charge(client: Client, key: str, source: str, **terms: Any) -> Document:
    body = {"amount": 8420, "currency": "EUR", "source": source, "account": ACCOUNT, **terms}
    told = await client.post("/charges", body, key)
    assert told.document is not None, told
    return told.document


def _sale(source: str) -> Act:
    async def act(client: Client, key: str, _: Document) -> None:
        charge = await _charge(client, key, source)
        await client.settle("/charges", charge, seconds=60)

    return act


async def _captured(client: Client, key: str) -> Document:
    return await _charge(client, f"{key}_sale", "tok_visa_4291")


async def _authorized(client: Client, key: str) -> Document:
    return await _charge(client, f"{key}_authorization", "tok_visa_4291", capture=False)


async def _challenged(client: Client, key: str) -> Document:
    return await _charge(client, f"{key}_challenge", "tok_3ds")


def _on(verb: str, **body: Any) -> Act:
    async def act(client: Client, key: str, charge: Document) -> None:
        await client.post(f"/charges/{charge['id']}/{verb}", body, key)

    return act


async def _refund(client: Client, key: str, charge: Document) -> None:
    told = await client.post("/refunds", {"charge": charge["id"], "amount": 420}, key)
    assert told.document is not None, told
    await client.settle("/refunds", told.document, seconds=60)


async def _refundable_late(client: Client, key: str) -> Document:
    return await _charge(client, f"{key}_sale", "tok_refund_fails")


def _payout(name: str) -> Act:
    async def act(client: Client, key: str, _: Document) -> None:
        destination = {"type": "iban", "iban": IBAN, "name": name}
        body = {"amount": 300, "currency": "EUR", "source": ACCOUNT, "destination": destination}
        told = await client.post("/payouts", body, key)
        if told.document is not None:
            await client.settle("/payouts", told.document, seconds=60)

    return act


PATHS = (
    Path(name="sale", kind="charge", act=_sale("tok_visa_4291")),
    Path(name="sale that fails over", kind="charge", act=_sale("tok_soft_then_approved")),
    Path(name="sale refused by a rail", kind="charge", act=_sale("tok_not_attempted")),
    Path(name="sale declined", kind="charge", act=_sale("tok_declined_hard")),
    Path(name="sale with a lost answer", kind="charge", act=_sale("tok_timeout_approved")),
    Path(name="step-up", kind="charge", prepare=_challenged, act=_on("authenticate", result="success")),
    Path(name="capture", kind="capture", prepare=_authorized, act=_on("capture")),
    Path(name="capture of a part", kind="capture", prepare=_authorized, act=_on("capture", amount=400)),
    Path(name="void", kind="void", prepare=_authorized, act=_on("void")),
    Path(name="refund", kind="refund", prepare=_captured, act=_refund),
    Path(name="refund that fails later", kind="refund", prepare=_refundable_late, act=_refund),
    Path(name="payout", kind="payout", act=_payout("Ada Ordinary")),
    Path(name="payout on the next rail", kind="payout", act=_payout("Ada SOFT")),
    Path(name="payout declined", kind="payout", act=_payout("Ada DECLINE")),
    Path(name="payout with a lost answer", kind="payout", act=_payout("Ada TIMEOUT")),
)
