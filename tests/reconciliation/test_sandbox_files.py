"""The sandbox's own files: written without our code, read by it, and stable from one asking to the next."""

from typing import Any

import httpx

from domain.reconciliation import FileFormat, LineKind
from rails.sandbox.orders import Operation
from rails.sandbox.settlement_files import bank_statement, lines_of, settlement_file
from reconciliation.formats import read_statement

AT = 1_795_000_000.0


def operation(kind: str, rail_key: str, amount: int, **changes: Any) -> Operation:
    terms: dict[str, Any] = {
        "rail": "card_gamma",
        "rail_key": rail_key,
        "kind": kind,
        "amount": amount,
        "currency": "EUR",
        "ending": "approved",
        "at": AT,
        "decided_at": AT,
        "reference": f"card_gamma_{rail_key}",
        "fingerprint": "",
        "scenario": "approved",
    }
    return Operation(**(terms | changes))


def test_rule_30_a_sandbox_rails_file_and_its_banks_statement_agree() -> None:
    operations = [
        operation("authorize", "ch_1:1", 8420),
        operation("authorize", "ch_2:1", 990, currency="JPY"),
        operation("refund", "re_1:1", 420),
        operation("authorize", "ch_3:1", 100, ending="declined"),
        operation("authorize", "ch_4:1", 700, decided_at=AT + 60),
    ]
    lines = lines_of(
        operations, (), now=AT + 61, captured=lambda one: (one.amount, one.decided_at), fee=lambda amount: 62
    )
    statement = read_statement(
        settlement_file("card_gamma", lines, AT + 61).encode(), FileFormat.ACQUIRER_CSV, "card_gamma"
    )
    assert [(one.kind, one.net_minor, one.currency) for one in statement.lines] == [
        (LineKind.CAPTURE, 8358, "EUR"),
        (LineKind.CAPTURE, 928, "JPY"),
        (LineKind.REFUND, -420, "EUR"),
        (LineKind.CAPTURE, 638, "EUR"),
    ]
    assert statement.covers_until is not None
    bank = read_statement(bank_statement("card_gamma", lines, AT + 61).encode(), FileFormat.BANK_CSV, "bank_main")
    batches = {one.batch for one in statement.lines}
    # The last minute is not over, so the bank has not paid it.
    assert [(one.net_minor, one.currency) for one in bank.lines] == [(8358 - 420, "EUR"), (928, "JPY")]
    assert {one.batch for one in bank.lines} < batches
    again = lines_of(operations, (), now=AT + 99, captured=lambda one: (one.amount, one.decided_at), fee=lambda _: 62)
    later = read_statement(
        settlement_file("card_gamma", again, AT + 99).encode(), FileFormat.ACQUIRER_CSV, "card_gamma"
    )
    assert later.lines == statement.lines


async def test_the_sandbox_serves_both(rails_sandbox: str) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=rails_sandbox) as client:
        file = await client.get("/rails/card_gamma/settlement_file")
        assert read_statement(file.content, FileFormat.ACQUIRER_CSV, "card_gamma").totals
        statement = await client.get("/rails/card_gamma/bank_statement")
        assert read_statement(statement.content, FileFormat.BANK_CSV, "bank_main").totals
        assert (await client.get("/rails/no_rail/settlement_file")).status_code == 404
        assert (await client.get("/rails/card_gamma/other")).status_code == 404
