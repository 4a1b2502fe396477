"""Schemathesis against a running API: a merchant with objects of every kind, then every check on every operation."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.e2e.shop import Shop, fresh_key
from tests.reconciliation.files import Said, acquirer_file

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SECONDS_MAX = 3600.0
IBAN = {"type": "iban", "iban": "DE89370400440532013000", "name": "Ada Ordinary"}


def probe(
    sandbox: dict[str, Any], folder: Path, *, seed: int, examples: int, phases: str, admin: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run schemathesis as a merchant of its own, or as the administrator; exit code 0 when it found nothing."""
    operator = Shop(sandbox["api_url"], sandbox["admin_key"])
    merchant = operator.post("/merchants", {"name": f"schemathesis {seed}"}).json()["id"]
    made = operator.post("/api_keys", {"merchant": merchant, "mode": "test"}).json()
    shop = Shop(sandbox["api_url"], made["secret"])
    objects = folder / f"objects-{seed}-{admin}.json"
    objects.write_text(json.dumps({**_make_objects(shop), **_make_safeguarded(operator, seed)}))
    shop.close()
    operator.close()
    key = sandbox["admin_key"] if admin else made["secret"]
    command = [Path(sys.executable).with_name("st"), f"--config-file={CONFIGURATION}", "run"]
    command += [f"{sandbox['api_url']}/openapi.json", "--header", f"Authorization: Bearer {key}", "--no-color"]
    command += ["--checks", "all", "--seed", str(seed), "--max-examples", str(examples), "--phases", phases]
    command += ["--warnings", "off", "--generation-deterministic", "--continue-on-failure"]
    command += ["--exclude-path", "/v1/events/stream"]  # It goes on for minutes, as it should.
    if admin:
        # What an administrator may break is its own key and those of others; the merchant's run reads the rest.
        command += ["--exclude-method", "DELETE"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LEDGERLINE_OPENAPI_OBJECTS": str(objects)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def _make_safeguarded(operator: Shop, seed: int) -> dict[str, list[str]]:
    """A statement, what it is reconciled to, and the breaks that this opens."""
    given = {"bank": "first", "currency": "EUR", "closing_balance": 1, "mode": "test", "statement_id": f"st-{seed}"}
    as_of = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    statement = operator.post("/safeguarding/statements", {**given, "as_of": as_of}, key=fresh_key()).json()
    run = operator.post("/safeguarding/reconciliations", {}, key=fresh_key()).json()
    return {
        "statement": [statement["id"]] if "id" in statement else [],
        "reconciliation": [one["id"] for one in run["reconciliations"]],
        "break": [one["id"] for one in operator.get("/safeguarding/breaks")["data"]],
    }


def _make_objects(shop: Shop) -> dict[str, list[str]]:
    """Objects of every kind, in more than one state, by the name a path calls their ids."""
    accounts = [shop.account(funds=5_000_000) for _ in range(3)]
    charges = [shop.charge("tok_visa_4291", account=account).json()["id"] for account in accounts]
    charges += [shop.charge("tok_visa_4291", 2_000_000, capture=False).json()["id"] for _ in range(4)]
    charges += [shop.charge(token).json()["id"] for token in ("tok_3ds", "tok_timeout_forever")]
    refunds = [shop.post("/refunds", {"charge": charge, "amount": 100}).json()["id"] for charge in charges[:2]]
    order = {"amount": 500, "currency": "EUR", "source": accounts[0]}
    payouts = [shop.post("/payouts", {**order, "destination": IBAN}).json()["id"] for _ in range(2)]
    move = {**order, "destination": accounts[1]}
    transfers = [shop.post("/transfers", {**move, "pending": pending}).json()["id"] for pending in (False, True, True)]
    pair = {"sell_currency": "EUR", "buy_currency": "USD", "sell_amount": 1000}
    quotes = [shop.post("/fx/quotes", pair, key=fresh_key()).json()["id"] for _ in range(2)]
    files = [_file(shop, gross) for gross in (8420, 9000)]
    return {
        "file": files,
        "account": accounts,
        "charge": charges,
        "refund": refunds,
        "payout": payouts,
        "transfer": transfers,
        "quote": quotes,
        "event": [event["id"] for event in shop.get("/events", limit=20)["data"]],
        "exception": [exception["id"] for exception in shop.get("/reconciliation/exceptions")["data"]],
    }


def _file(shop: Shop, gross: int) -> str:
    """A rail's file about a charge of 84.20 EUR: one that agrees, or one that leaves an exception."""
    charge = shop.charge("tok_visa_4291", rail="card_gamma").json()["id"]
    content = acquirer_file([Said(reference=f"g-{charge}", order=f"{charge}:1", gross=gross)])
    form = {"format": "acquirer_csv", "rail": "card_gamma"}
    answer = shop.send("POST", "/v1/reconciliation/files", data=form, files={"file": ("f.csv", content)})
    assert answer.status_code == 201, answer.text
    taken: str = answer.json()["id"]
    return taken
