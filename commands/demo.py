"""`ledgerline demo`: the page's story, driven over the public API of the running sandbox.

Knows nothing that a customer of the API would not know.
"""

import secrets
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console

from commands.configured import running_instance, settings_or_exit
from domain.money import format_amount

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CUSTOMER, MERCHANT = "acct_user_8f3c", "acct_merch_a21"
AMOUNT_MINOR, CURRENCY = 8420, "EUR"
SETTLING_SECONDS_MAX = 20.0

Document = dict[str, Any]


class UnexpectedAnswer(Exception):
    """The sandbox did not do what the story says; the message is its answer."""


class Sandbox:
    """The API as a customer sees it, with one test key."""

    def __init__(self, instance: Mapping[str, Any]) -> None:
        self.ui_url = instance.get("temporal_ui_url")
        self._admin_key, self._rails_url = instance["admin_key"], instance["rails_url"]
        self._client = httpx.Client(
            base_url=f"{instance['api_url']}/v1",
            headers={"Authorization": f"Bearer {instance['test_key']}"},
            timeout=30,
        )
        self._run = secrets.token_hex(4)

    def post(self, path: str, body: Document, key: str, *, expect: tuple[int, ...] = (200, 201)) -> Document:
        """Send one request with an idempotency key of this run; return the answer's document."""
        answer = self._client.post(path, json=body, headers={"Idempotency-Key": self.key(key)})
        return self._document(answer, expect)

    def get(self, path: str, *, admin: bool = False, **parameters: str) -> Document:
        """Read one document."""
        headers = {"Authorization": f"Bearer {self._admin_key}"} if admin else {}
        return self._document(self._client.get(path, params=parameters, headers=headers), (200,))

    def settle_by_file(self, rail: str) -> Document:
        """Fetch a sandbox rail's settlement file and hand it in; return what came of it."""
        written = httpx.get(f"{self._rails_url}/rails/{rail}/settlement_file", timeout=30)
        form = {"format": "acquirer_csv", "rail": rail}
        files = {"file": ("settlement.csv", written.content)}
        return self._document(self._client.post("/reconciliation/files", data=form, files=files), (200, 201, 202))

    def await_status(self, path: str, *wanted: str) -> Document:
        """Read an object until it has one of the statuses wanted."""
        deadline = time.monotonic() + SETTLING_SECONDS_MAX
        while True:
            document = self.get(path)
            if document["status"] in wanted or time.monotonic() > deadline:
                return document
            time.sleep(0.2)

    def key(self, name: str) -> str:
        """Return this run's idempotency key for one step."""
        return f"demo_{self._run}_{name}"

    def link(self, document: Document) -> str:
        """Return where the Temporal UI shows an object's workflow."""
        workflow_id = document.get("workflow_id")
        if not self.ui_url or not workflow_id:
            return ""
        return f"{self.ui_url}/namespaces/default/workflows/{quote(str(workflow_id), safe='')}"

    @staticmethod
    def _document(answer: httpx.Response, expect: tuple[int, ...]) -> Document:
        if answer.status_code not in expect:
            raise UnexpectedAnswer(
                f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
            )
        document: Document = answer.json()
        return document


class Story:
    """The steps, in the order they are told."""

    def __init__(self, sandbox: Sandbox, console: Console) -> None:
        self._sandbox = sandbox
        self._console = console

    def tell(self) -> None:
        """Tell all of it.

        Raises:
            UnexpectedAnswer: a step came out otherwise than told.
        """
        before_anything = self._sandbox.get(f"/accounts/{MERCHANT}/balance")
        charge = self.charge()
        self.same_key_again(charge)
        self.failover()
        self.step_up()
        self.refund(charge)
        self.transfer()
        self.payout()
        self.reconcile()
        self.balance_at(str(before_anything["at"]))
        self.trial_balance()

    def charge(self) -> Document:
        """A card is charged, routed and settled in one call."""
        self._title("Charge 84.20 EUR to a card, any rail")
        charge = self._charge("tok_visa_4291", "ord_7741")
        self._console.print(f"  {charge['status']}, fee {format_amount(charge['fee'], CURRENCY)}, by {charge['rail']}")
        for option in charge["route"]:
            cost, odds = float(option["landed_cost"]) / 100, float(option["approval_probability"])
            self._console.print(
                f"    {option['rail']:<16} costs {cost:5.2f}, approves {odds:6.1%}, utility {option['utility']:.1f}"
            )
        risk = charge["risk"]
        self._console.print(f"    risk {risk['score']:.4f}: {risk['decision']} (model {risk['model_version']})")
        self._link(charge)
        return charge

    def same_key_again(self, charge: Document) -> None:
        """A retry gets the original."""
        self._title("The same key again: the original answer, no second charge")
        again = self._charge("tok_visa_4291", "ord_7741")
        self._expect(again["id"] == charge["id"], again)
        self._console.print(f"  {again['id']} once more")

    def failover(self) -> None:
        """A soft decline moves on to the next rail."""
        self._title("The first rail declines softly: the next one is tried")
        charge = self._charge("tok_soft_then_approved", "failover")
        for attempt in charge["attempts"]:
            declined = (
                f" ({attempt['decline_code']}, {attempt['decline_class']})" if attempt.get("decline_code") else ""
            )
            self._console.print(f"  {attempt['number']}. {attempt['rail']:<16} {attempt['outcome']}{declined}")
        self._link(charge)

    def step_up(self) -> None:
        """The issuer wants the customer to confirm."""
        self._title("The card's issuer asks for 3-D Secure: the customer confirms")
        charge = self._charge("tok_3ds", "stepup")
        self._expect(charge["status"] == "requires_action", charge)
        self._console.print(f"  requires_action: {charge['next_action']}")
        done = self._sandbox.post(
            f"/charges/{charge['id']}/authenticate", {"result": "success"}, "authenticate", expect=(200, 201, 202)
        )
        self._console.print(f"  after the customer's step: {done['status']}")
        self._link(charge)

    def refund(self, charge: Document) -> None:
        """Part of the first charge goes back."""
        self._title("Refund 20.00 EUR of the first charge")
        body = {"charge": charge["id"], "amount": 2000, "reason": "requested_by_customer"}
        refund = self._sandbox.post("/refunds", body, "refund", expect=(200, 201, 202))
        refund = self._sandbox.await_status(f"/refunds/{refund['id']}", "succeeded", "failed")
        self._console.print(f"  {refund['id']}: {refund['status']}")
        self._link(refund)

    def transfer(self) -> None:
        """The page's transfer: two opposing entries in one commit."""
        self._title(f"Transfer 84.20 EUR from {CUSTOMER} to {MERCHANT}")
        body = {
            "amount": AMOUNT_MINOR,
            "currency": CURRENCY,
            "source": CUSTOMER,
            "destination": MERCHANT,
            "rail": "auto",
        }
        transfer = self._sandbox.post("/transfers", body, "ord_7741_v2")
        for entry in transfer["entries"]:
            amount, balance = format_amount(entry["amount"], CURRENCY), format_amount(entry["balance"], CURRENCY)
            self._console.print(f"  {entry['direction']:<6} {entry['account']:<16} {amount:>12}   balance {balance}")

    def payout(self) -> None:
        """Money leaves to a bank account."""
        self._title("Pay out 50.00 EUR to a bank account")
        destination = {"type": "iban", "iban": "DE89370400440532013000", "name": "Demo GmbH"}
        body = {"amount": 5000, "currency": CURRENCY, "source": MERCHANT, "destination": destination, "rail": "auto"}
        payout = self._sandbox.post("/payouts", body, "payout", expect=(200, 201, 202))
        payout = self._sandbox.await_status(f"/payouts/{payout['id']}", "paid", "failed", "returned")
        self._console.print(f"  {payout['id']}: {payout['status']} by {payout['rail']}")
        self._link(payout)

    def reconcile(self) -> None:
        """A rail that pays by file: captured, then settled by its line."""
        self._title("A rail that pays later: its settlement file arrives")
        body = {"amount": AMOUNT_MINOR, "currency": CURRENCY, "source": "tok_visa_4291", "rail": "card_gamma"}
        charge = self._sandbox.post("/charges", body, "by_file")
        self._console.print(f"  {charge['id']}: {charge['status']} by {charge['rail']}")
        file = self._sandbox.settle_by_file("card_gamma")
        charge = self._sandbox.await_status(f"/charges/{charge['id']}", "settled")
        came_to = ("lines", "matched", "exceptions", "duplicates")
        self._console.print(f"  {file['id']}: " + ", ".join(f"{file[name]} {name}" for name in came_to))
        self._console.print(f"  {charge['id']}: {charge['status']}")

    def balance_at(self, instant: str) -> None:
        """An account's balance now and before all this."""
        self._title(f"The balance of {MERCHANT}, now and before this demo")
        path = f"/accounts/{MERCHANT}/balance"
        for balance in (self._sandbox.get(path, at=instant), self._sandbox.get(path)):
            posted, available = (format_amount(balance[name], CURRENCY) for name in ("posted", "available"))
            self._console.print(f"  at {balance['at']}: posted {posted}, available {available}")

    def trial_balance(self) -> None:
        """The whole book adds up to zero."""
        self._title("The trial balance of the whole book")
        for row in self._sandbox.get("/ledger/trial_balance", admin=True)["currencies"]:
            debits, credits_ = (format_amount(row[side], row["currency"]) for side in ("debits", "credits"))
            self._console.print(f"  {row['currency']}: debits {debits}, credits {credits_}, delta {row['delta']}")
            self._expect(row["delta"] == 0, row)

    def _charge(self, source: str, key: str) -> Document:
        body = {"amount": AMOUNT_MINOR, "currency": CURRENCY, "source": source, "rail": "auto", "capture": True}
        return self._sandbox.post("/charges", body, key, expect=(200, 201))

    def _title(self, title: str) -> None:
        self._console.print(f"\n[bold]{title}[/bold]")

    def _link(self, document: Document) -> None:
        link = self._sandbox.link(document)
        if link:
            self._console.print(f"  [dim]{link}[/dim]", soft_wrap=True)

    @staticmethod
    def _expect(fulfilled: bool, document: Document) -> None:
        if not fulfilled:
            raise UnexpectedAnswer(str(document))


@app.command()
def demo() -> None:
    """Charge, fail over, step up, refund, transfer, pay out, reconcile; then ask for balances and the trial balance."""
    console = Console(highlight=False)
    try:
        Story(Sandbox(running_instance(settings_or_exit())), console).tell()
    except (UnexpectedAnswer, httpx.TransportError) as problem:
        print(f"The demo stopped: {problem}", file=sys.stderr)
        raise typer.Exit(1) from problem
    console.print("\nThat was the story. [bold]Everything above is in the books and in the Temporal UI.[/bold]")
