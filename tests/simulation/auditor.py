"""An auditor who knows only the rails' truth, what clients were told, and the price list.

From those it derives what every account must hold and what the rails' clearing accounts must show,
entry by entry. It shares no code with the core: prices, rounding and the chart are its own reading
of the public contract.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Document = dict[str, Any]
Account = tuple[str, str]
"""(account, currency): a public account id, or the ledger's own account without its currency."""

FINAL_STATUSES = {
    "charge": {"settled", "captured", "declined", "voided", "expired"},
    "refund": {"succeeded", "failed"},
    "payout": {"paid", "failed", "returned"},
    "transfer": {"settled", "failed", "voided", "expired"},
}
WAITS_FOR_SOMEBODY = {"charge": {"authorized", "requires_action"}, "transfer": {"pending"}}
"""The merchant's capture or the customer's step; `unknown` waits for a person once an exception says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One booking on a rail's clearing account, seen from either side. Debit: the rail owes us."""

    rail: str
    currency: str
    direction: str
    amount: int
    object_id: str


@dataclass(slots=True, kw_only=True)
class ExpectedBooks:
    """What the books must say. Balances are credits minus debits, in minor units."""

    balances: Counter[Account] = field(default_factory=Counter)
    effects: Counter[Effect] = field(default_factory=Counter)
    holds: Counter[tuple[str, int]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def move(self, debit: str, credit: str, amount: int, currency: str) -> None:
        """Book one movement."""
        self.balances[debit, currency] -= amount
        self.balances[credit, currency] += amount


def object_of(rail_key: str) -> str:
    """The object an order was given for: `ch_1.capture2:1` is about `ch_1`."""
    return rail_key.split(":", 1)[0].split(".", 1)[0]


def operation_of(rail_key: str) -> str:
    """The operation of an order, whichever attempt: `ch_1.capture2:1` is `ch_1.capture2`."""
    return rail_key.rsplit(":", 1)[0]


class Auditor:
    """Derives the books from the outside."""

    def __init__(
        self,
        *,
        truth: Document,
        documents: Mapping[str, Document],
        disputes: Iterable[Document],
        open_exceptions: Iterable[Document],
        prices: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._operations = truth["operations"]
        self._undecided = truth["pending"]
        self._chargebacks = [one for one in truth["disputes"] if one.get("kind", "chargeback") == "chargeback"]
        self._settlements = [one for one in truth.get("notices", ()) if one["type"] == "charge.settled"]
        self._came_back = {
            object_of(one["rail_key"]): one
            for one in truth.get("notices", ())
            if one["moves"] == "credit" and not one["type"].startswith("dispute.")
        }
        self._documents = documents
        self._disputes = {dispute["charge"]: dispute for dispute in disputes}
        asked = list(open_exceptions)
        self._for_a_person = {exception["subject"] for exception in asked}
        self._orders_for_a_person = {one["rail_key"] for one in asked if one.get("kind") == "unknown_outcome"}
        self._prices = prices
        self._orphans = self._find_orphans(truth.get("notices", ()))
        self._books = ExpectedBooks()

    def _find_orphans(self, notices: Iterable[Document]) -> set[str]:
        """The effects a rail told of too late: the charge had ended, and not by them."""
        corrected = {notice["effect_key"] for notice in notices if notice.get("outcome") == "approved"}
        winners = {
            f"{document['id']}:{attempt['number']}"
            for document in self._documents.values()
            for attempt in document.get("attempts") or ()
            if document["object"] == "charge" and attempt["outcome"] == "approved"
        }
        return corrected - winners

    @property
    def given_back(self) -> set[str]:
        """Objects of which both the taking and the giving back may be in the books, or neither."""
        return {*self._came_back, *(object_of(key) for key in self._orphans)}

    def derive(self) -> ExpectedBooks:
        """Return what the books must say, with everything that is wrong already."""
        self._check_no_rail_did_anything_twice()
        self._check_endings()
        captures: dict[str, list[int]] = defaultdict(list)
        for row in sorted(self._operations, key=lambda row: row["at"]):
            if row["outcome"] == "approved" and not self._is_about_orphan(row):
                self._book(row, captures)
        for charge_id, amounts in captures.items():
            self._book_fees(charge_id, amounts)
        for chargeback in self._chargebacks:
            self._book_chargeback(chargeback)
        for notice in self._came_back.values():
            self._book_return(notice)
        for notice in self._settlements:
            self._book_settlement(notice)
        for document in self._documents.values():
            self._book_inside(document)
        return self._books

    def awaiting_somebody(self, document: Document) -> bool:
        """Tell whether an object rightly stays open: for a merchant, a customer, or a person."""
        if document["status"] in WAITS_FOR_SOMEBODY.get(document["object"], ()):
            return True
        if document.get("pending_reason") == "awaiting_funds":
            return True  # For the merchant's money; nothing is set aside for it and no rail was asked.
        return document["status"] in ("unknown", "pending", "processing") and document["id"] in self._for_a_person

    def _find(self, text: str) -> None:
        self._books.findings.append(text)

    def _check_no_rail_did_anything_twice(self) -> None:
        effects = Counter(
            operation_of(row["rail_key"])
            for row in self._operations
            if row["outcome"] == "approved" and row["rail_key"] not in self._orphans
        )
        for operation, count in effects.items():
            if count > 1:
                self._find(f"the rails did {operation} {count} times")
        reversed_keys = {
            row["original_rail_key"]
            for row in self._operations
            if row["outcome"] == "approved" and row["kind"] in ("refund", "void") and ".orphan-" in row["rail_key"]
        }
        for key in self._orphans - reversed_keys:
            self._find(f"the rails did {key} after its charge had ended, and nobody gave it back")
        for row in self._undecided:
            self._find(f"{row['rail']} has not decided {row['rail_key']} yet: audited too early")

    def _is_about_orphan(self, row: Document) -> bool:
        return row["rail_key"] in self._orphans or row.get("original_rail_key") in self._orphans

    def _check_endings(self) -> None:
        approved = {
            operation_of(row["rail_key"])
            for row in self._operations
            if row["outcome"] == "approved" and row["rail_key"] not in self._orphans
        }
        for document in self._documents.values():
            kind, status, name = document["object"], document["status"], document["id"]
            if status not in FINAL_STATUSES[kind] and not self.awaiting_somebody(document):
                self._find(f"{name} is still {status} and nobody is asked to do anything")
            if self.awaiting_somebody(document) and status != "authorized":
                continue
            happened = name in approved
            told = status in ("settled", "captured", "authorized", "voided", "expired", "succeeded", "paid", "returned")
            if name in self._came_back:
                # Told before we had asked: then it never counted as sent at all.
                ended = {"refund": ("failed",), "payout": ("returned", "failed")}[kind]
                if status not in ended:
                    self._find(f"{name} is {status}, but its money came back to us")
                continue
            if kind != "transfer" and happened != told:
                self._find(f"{name} is {status}, but at the rails it {'happened' if happened else 'never happened'}")

    def _book(self, row: Document, captures: dict[str, list[int]]) -> None:
        object_id, amount, currency = object_of(row["rail_key"]), row["amount"], row["currency"]
        document = self._documents.get(object_id)
        if document is None:
            self._find(f"{row['rail']} did {row['rail_key']}, which no client was ever told of")
            return
        waits = document["status"] == "unknown" and self.awaiting_somebody(document)
        if waits or row["rail_key"] in self._orders_for_a_person:
            return  # What the rail did is what a person must still find out.
        clearing = f"rail_clearing:{row['rail']}"
        if row["kind"] == "capture" or (row["kind"] == "authorize" and row["capture"]):
            captures[object_id].append(amount)
            self._books.move(clearing, document["account"], amount, currency)
            direction = "debit"
        elif row["kind"] == "refund":
            self._books.move(document["account"], clearing, amount, currency)
            direction = "credit"
        elif row["kind"] == "payout":
            self._books.move(document["source"], clearing, amount, currency)
            direction = "credit"
        else:
            return
        effect = Effect(rail=row["rail"], currency=currency, direction=direction, amount=amount, object_id=object_id)
        self._books.effects[effect] += 1

    def _book_fees(self, charge_id: str, amounts: list[int]) -> None:
        """The fixed part once, the proportion of each capture with halves rounded up, never above the capture."""
        charge, total = self._documents[charge_id], 0
        price = self._prices.get(charge["currency"]) or self._prices["*"]
        for number, amount in enumerate(amounts):
            proportion = (amount * price["basis_points"] + 5_000) // 10_000
            total += min(amount, proportion + (price["fixed"] if number == 0 else 0))
        self._books.move(charge["account"], "fee_revenue", total, charge["currency"])
        if (charge["fee"], charge["amount_captured"]) != (total, sum(amounts)):
            self._find(
                f"{charge_id} says fee {charge['fee']} and captured {charge['amount_captured']}, "
                f"the rails say {total} and {sum(amounts)}"
            )

    def _book_chargeback(self, chargeback: Document) -> None:
        charge_id, amount, currency = object_of(chargeback["rail_key"]), chargeback["amount"], chargeback["currency"]
        dispute = self._disputes.get(charge_id)
        if dispute is None:
            self._find(f"the chargeback {chargeback['id']} of {charge_id} is in no list of disputes")
            return
        account, clearing = self._documents[charge_id]["account"], f"rail_clearing:{chargeback['rail']}"
        self._books.move(account, clearing, amount, currency)
        if dispute["fee"]:
            self._books.move(account, "fee_revenue", dispute["fee"], currency)
        effect = Effect(
            rail=chargeback["rail"], currency=currency, direction="credit", amount=amount, object_id=dispute["id"]
        )
        self._books.effects[effect] += 1
        if chargeback.get("status") == "won":
            # The bank gave the money back; the fee stays unless the merchant's plan says otherwise.
            self._books.move(clearing, account, amount, currency)
            if dispute.get("fee_returned"):
                self._books.move("fee_revenue", account, dispute["fee_returned"], currency)
            self._books.effects[replace(effect, direction="debit")] += 1

    def _book_settlement(self, notice: Document) -> None:
        """What a rail keeps of a settlement is our cost; the merchant's fee was agreed on and does not change."""
        if notice.get("fee"):
            rail, fee, currency = notice["rail"], notice["fee"], notice["currency"]
            self._books.move(f"rail_cost:{rail}", f"rail_clearing:{rail}", fee, currency)
            charge_id = object_of(notice["rail_key"])
            effect = Effect(rail=rail, currency=currency, direction="credit", amount=fee, object_id=charge_id)
            self._books.effects[effect] += 1

    def _book_return(self, notice: Document) -> None:
        """Money of a refund or payout that the rail had sent is here again: the merchant's, once."""
        object_id, amount, currency = object_of(notice["rail_key"]), notice["amount"], notice["currency"]
        document = self._documents.get(object_id)
        if document is None:
            self._find(f"{notice['rail']} returned {notice['rail_key']}, which no client was ever told of")
            return
        clearing = f"rail_clearing:{notice['rail']}"
        self._books.move(clearing, document.get("account") or document["source"], amount, currency)
        effect = Effect(rail=notice["rail"], currency=currency, direction="debit", amount=amount, object_id=object_id)
        self._books.effects[effect] += 1

    def _book_inside(self, document: Document) -> None:
        """What no rail knows of: transfers, sandbox money, holds, and payouts that wait for a person."""
        kind, status, currency = document["object"], document["status"], document["currency"]
        if kind == "transfer":
            moved = document["amount_posted"] or (document["amount"] if status == "settled" else 0)
            if moved:
                self._books.move(document["source"], document["destination"], moved, currency)
            if status == "pending":
                self._books.holds[document["destination"], document["amount"] - moved] += 1
        elif kind == "charge" and status == "authorized":
            self._books.holds[document["account"], document["amount"] - document["amount_captured"]] += 1
        elif kind == "refund" and self.awaiting_somebody(document) and not document.get("pending_reason"):
            self._books.holds[document["account"], -document["amount"]] += 1
        elif kind == "payout" and self.awaiting_somebody(document):
            in_transit = f"payouts_in_transit:{document['rail']}"
            self._books.move(document["source"], in_transit, document["amount"], currency)
