"""Postings in one line, for tests: a merchant of one's own, accounts, movements, objects."""

from dataclasses import dataclass, field
from typing import Any

import psycopg

from domain.facts import Fact
from domain.identifiers import Mode, account_code, new_identifier
from domain.ledger import (
    AccountOpening,
    AuditDraft,
    EventDraft,
    KeyClaim,
    Movement,
    Phase,
    Posting,
    Record,
    RecordKind,
)


@dataclass(slots=True)
class World:
    """One merchant in test mode; every id it makes is new, so tests of one database don't meet."""

    merchant_id: str = field(default_factory=lambda: new_identifier("mer"))
    mode: Mode = Mode.TEST

    def code(self, account: str) -> str:
        """The ledger's name of an account of this merchant."""
        return account_code(self.merchant_id, self.mode, account)

    def opening(
        self, account: str, *, least: int | None = None, most: int | None = None, currency: str = "EUR"
    ) -> AccountOpening:
        """An account of this merchant to open."""
        return AccountOpening(
            code=self.code(account),
            currency=currency,
            kind="customer",
            merchant_id=self.merchant_id,
            mode=self.mode,
            min_balance_minor=least,
            max_balance_minor=most,
        )

    def movement(self, debit: str, credit: str, amount: int, **members: Any) -> Movement:
        """A movement between two accounts of this merchant."""
        key = members.pop("key", None) or new_identifier("mv")
        currency = members.pop("currency", "EUR")
        return Movement(
            key=key,
            debit_account=self.code(debit),
            credit_account=self.code(credit),
            amount_minor=amount,
            currency=currency,
            kind="test",
            reference=key,
            **members,
        )

    def posting(self, *movements: Movement, key: str | None = None, **members: Any) -> Posting:
        """A posting of movements (or of whatever is given by name)."""
        key = key or f"{new_identifier('op')}:1"
        return Posting(
            key=key,
            merchant_id=self.merchant_id,
            mode=self.mode,
            audit=AuditDraft(actor="key_test", action="test.posted", object_id=key.split(":")[0], details={"n": 1}),
            movements=movements,
            **members,
        )

    def move(self, debit: str, credit: str, amount: int, **members: Any) -> Posting:
        """A posting of one movement."""
        return self.posting(self.movement(debit, credit, amount, **members))

    def stating(self, *facts: Fact, **members: Any) -> Posting:
        """A posting of facts."""
        return self.posting(facts=facts, **members)

    def opens(self, *openings: AccountOpening) -> Posting:
        """A posting that opens accounts."""
        return self.posting(accounts=openings)

    def claim(self, key: str, object_id: str) -> KeyClaim:
        """The claim of an idempotency key."""
        return KeyClaim(
            key=key, fingerprint="f", route="POST /v1/x", request={"amount": 1}, object_kind="x", object_id=object_id
        )

    def charge(self, charge_id: str, version: int = 1, *, captured: int = 1000, status: str = "settled") -> Record:
        """A version of a charge of 1000."""
        document = {"id": charge_id, "status": status, "amount": 1000, "amount_captured": captured, "currency": "EUR"}
        return Record(kind=RecordKind.CHARGE, id=charge_id, version=version, document=document)

    def refund(self, refund_id: str, charge_id: str, amount: int, version: int = 1, status: str = "pending") -> Record:
        """A version of a refund."""
        document = {"id": refund_id, "status": status, "charge": charge_id, "amount": amount}
        return Record(kind=RecordKind.REFUND, id=refund_id, version=version, document=document)

    def event(self, record: Record, kind: str = "charge.settled") -> EventDraft:
        """An event about a record."""
        return EventDraft(type=kind, object_id=record.id, version=record.version)


HOLD, POST_HOLD, FINAL, VOID = Phase.HOLD, Phase.POST_HOLD, Phase.POST_HOLD_FINAL, Phase.VOID_HOLD

EVERYTHING = (
    "accounts",
    "movements",
    "entries",
    "ledger_transactions",
    "holds",
    "hold_changes",
    "idempotency_keys",
    "events",
    "audit_records",
    "charges",
    "refunds",
    "transfers",
    "fx_quotes",
    "policies",
)


async def whole_state(connection: psycopg.AsyncConnection) -> dict[str, Any]:
    """Every row of every table a posting may touch, to compare before and after."""
    state = {}
    for table in EVERYTHING:
        cursor = await connection.execute(f"SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)::text".encode())
        state[table] = await cursor.fetchall()
    return state


async def posted(connection: psycopg.AsyncConnection, code: str) -> tuple[int, int, int]:
    """An account's (posted balance, pending debits, pending credits)."""
    cursor = await connection.execute(
        "SELECT balance_minor, pending_debits_minor, pending_credits_minor FROM accounts WHERE code = %s", (code,)
    )
    row = await cursor.fetchone()
    assert row is not None, f"no account {code}"
    return row
