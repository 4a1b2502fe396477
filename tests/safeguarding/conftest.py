"""A book of one test's own with customers, rails and banks, and the run over it as the worker's role."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from domain.facts import ChargeCaptured, RailRemitted
from domain.identifiers import Mode, new_identifier
from domain.ledger import AuditDraft, Posting, Record, RecordKind
from domain.payout_stop import PLATFORM
from domain.safeguarding import Document
from domain.timestamps import rfc3339
from ledger.balances import settled_instant
from ledger.posting import Poster
from operations.safeguarding import SafeguardingTerms, reconcile
from tests.conftest import TestDatabase
from tests.ledger.postings import World


@dataclass
class Treasury:
    """One currency of live mode, of a database that nobody else uses."""

    poster: Poster
    connection: psycopg.AsyncConnection
    terms: SafeguardingTerms = field(default_factory=SafeguardingTerms)
    world: World = field(default_factory=lambda: World(mode=Mode.LIVE))
    currency: str = "EUR"

    async def open(self, *accounts: str) -> None:
        """Open customers' accounts without limits."""
        await self.poster.post(self.world.opens(*(self.world.opening(one) for one in accounts)))

    async def move(self, debit: str, credit: str, amount: int, **members: Any) -> None:
        """Move money between two customers' accounts."""
        result = await self.poster.post(self.world.move(debit, credit, amount, **members))
        assert result.refusal is None, result.refusal

    async def capture(self, account: str, amount: int, *, fee: int = 0, rail: str = "alpha") -> None:
        """A rail takes a charge: it owes us, and we owe the customer, less the fee."""
        charge = new_identifier("ch")
        fact = ChargeCaptured(
            charge_id=charge,
            account=account,
            rail=rail,
            currency=self.currency,
            amount_minor=amount,
            fee_minor=fee,
        )
        result = await self.poster.post(self.world.stating(fact))
        assert result.refusal is None, result.refusal

    async def remit(self, amount: int, *, bank: str = "first", rail: str = "alpha") -> None:
        """A rail pays what it owes to our account at a bank."""
        fact = RailRemitted(
            remittance_id=new_identifier("rem"), rail=rail, bank=bank, amount_minor=amount, currency=self.currency
        )
        result = await self.poster.post(self.world.stating(fact))
        assert result.refusal is None, result.refusal

    async def state(
        self,
        closing: int,
        as_of: datetime,
        *,
        bank: str = "first",
        lines: tuple[int, ...] = (),
        corrects: str | None = None,
    ) -> str:
        """Keep a bank's statement, as the API does; return its id."""
        name = new_identifier("sfs")
        document = {
            "id": name,
            "object": "safeguarding_statement",
            "mode": self.world.mode.value,
            "bank": bank,
            "currency": self.currency,
            "statement_id": name,
            "closing_balance": closing,
            "as_of": rfc3339(as_of),
            "lines": [{"amount": amount} for amount in lines],
            "corrects": corrects,
            "created_at": rfc3339(datetime.now(UTC)),
        }
        record = Record(kind=RecordKind.SAFEGUARDING_STATEMENT, id=name, version=1, document=document)
        result = await self.poster.post(
            Posting(
                key=f"{name}:1",
                merchant_id=PLATFORM,
                mode=self.world.mode,
                audit=AuditDraft(actor="test", action="safeguarding_statement.given", object_id=name),
                records=(record,),
            )
        )
        assert result.refusal is None, result.refusal
        return name

    async def now(self) -> datetime:
        """An instant that is over: everything posted so far is before it, nothing later is."""
        await asyncio.sleep(0)
        return await settled_instant(self.connection, datetime.now(UTC) + timedelta(minutes=1))

    async def run(self, at: datetime | None = None) -> Document:
        """Reconcile as of an instant; the one reconciliation of this currency and mode."""
        found = await reconcile(self.connection, self.poster, at or await self.now(), self.terms)
        (one,) = [one for one in found if (one["mode"], one["currency"]) == (self.world.mode, self.currency)]
        return one

    async def breaks(self) -> list[Document]:
        """Every break there is, oldest first."""
        rows = await self.connection.execute("SELECT document FROM safeguarding_breaks ORDER BY id")
        return [document for (document,) in await rows.fetchall()]

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        row = await (await self.connection.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
async def treasury(fresh_database: TestDatabase) -> AsyncIterator[Treasury]:
    """An empty book, and who reconciles it."""
    poster = Poster(fresh_database.app_url)
    await poster.start()
    async with await psycopg.AsyncConnection.connect(fresh_database.app_url, autocommit=True) as connection:
        yield Treasury(poster, connection)
    await poster.stop()
