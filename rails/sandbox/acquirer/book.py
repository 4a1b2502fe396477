"""What the acquirer did: every purchase, capture, refund and reversal, each message once.

Decides by the acquirer's own rules, apart from who talks to it. A message is known by terminal, reference and trace
number; a repeated one gets the first answer. A reversal whose original is unknown is kept on file, so that an
original that comes later is refused.
"""

import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from rails.sandbox.journal import Journal

APPROVED, INVALID_AMOUNT, NO_ACTION, NOT_LOCATED, LIMIT, DUPLICATE = "00", "13", "21", "25", "61", "94"
# Test cards, by their numbers; any other is approved.
DECLINING_CARDS = {
    "4000000000000002": "05",
    "4000000000009995": "51",
    "4000000000009979": "43",
    "4000000000000069": "54",
    "4000000000003220": "1A",
    "4000000000000119": "96",
}


@dataclass(slots=True, kw_only=True)
class Purchase:
    """An authorization or sale as the acquirer has it. Amounts in minor units; `taken_back` by a reversal."""

    terminal: str
    rrn: str
    stan: str
    kind: str
    amount: int
    currency: str
    code: str
    auth_code: str | None
    rail_key: str
    at: str
    calls: int = 1
    captured: int = 0
    refunded: int = 0
    taken_back: bool = False

    @property
    def standing(self) -> str:
        """Return approved, declined or reversed."""
        if self.code != APPROVED:
            return "declined"
        return "reversed" if self.taken_back else "approved"


@dataclass(slots=True, kw_only=True)
class Follow:
    """A capture, refund or reversal: what it is about, and how it was answered."""

    terminal: str
    rrn: str
    stan: str
    kind: str
    amount: int
    code: str
    rail_key: str
    calls: int = 1


@dataclass(slots=True)
class AcquirerBook:
    """The books of one acquirer, in memory and in the journal. Nothing runs between a check and its record."""

    journal: Journal
    purchases: dict[tuple[str, str], Purchase] = field(default_factory=dict)
    follows: dict[tuple[str, str, str], Follow] = field(default_factory=dict)
    refused_for_good: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for line in self.journal.replay():
            self._recall(line)

    def purchase(self, elements: dict[str, str], kind: str) -> tuple[str, str | None]:
        """Authorize or sell, once; return the response code and the authorization code."""
        key = (elements["41"], elements["37"])
        known = self.purchases.get(key)
        if known is not None:
            known.calls += 1
            self.journal.append({"line": "call", "key": list(key)})
            return (known.code, known.auth_code) if known.stan == elements["11"] else (DUPLICATE, None)
        if key in self.refused_for_good:
            return DUPLICATE, None
        amount = int(elements["4"])
        code = DECLINING_CARDS.get(elements.get("2", ""), APPROVED) if amount > 0 else INVALID_AMOUNT
        if code == "96":
            return code, None  # a malfunction of ours: nothing is done, and nobody there can tell
        purchase = Purchase(
            terminal=key[0],
            rrn=key[1],
            stan=elements["11"],
            kind=kind,
            amount=amount,
            currency=elements["49"],
            code=code,
            auth_code=secrets.token_hex(3).upper() if code == APPROVED else None,
            rail_key=elements.get("48", ""),
            at=datetime.now(UTC).isoformat(),
            captured=amount if kind == "sale" and code == APPROVED else 0,
        )
        self.purchases[key] = purchase
        self.journal.append({"line": "purchase", **asdict(purchase)})
        return purchase.code, purchase.auth_code

    def advise(self, elements: dict[str, str]) -> str:
        """Capture or refund what was authorized, once for each trace number; return the response code."""
        kind = "refund" if elements.get("3", "").startswith("20") else "capture"
        return self._follow(elements, kind, self._judge_refund if kind == "refund" else self._judge_capture)

    def reverse(self, elements: dict[str, str]) -> str:
        """Take an authorization or sale back, once; return the response code."""
        return self._follow(elements, "reversal", self._judge_reversal)

    def document(self) -> dict[str, Any]:
        """Return the whole truth. No card number is in it, or ever was."""
        return {
            "purchases": [{**asdict(one), "standing": one.standing} for one in self.purchases.values()],
            "follows": [asdict(one) for one in self.follows.values()],
            "refused_for_good": sorted(list(key) for key in self.refused_for_good),
        }

    def _follow(self, elements: dict[str, str], kind: str, judge: Any) -> str:
        key = (elements["41"], elements["37"], elements["11"])
        known = self.follows.get(key)
        if known is not None:
            known.calls += 1
            self.journal.append({"line": "call", "key": list(key)})
            return known.code
        purchase = self.purchases.get((key[0], key[1]))
        code: str = judge(purchase, int(elements["4"]), (key[0], key[1]))
        follow = Follow(
            terminal=key[0],
            rrn=key[1],
            stan=key[2],
            kind=kind,
            amount=int(elements["4"]),
            code=code,
            rail_key=elements.get("48", ""),
        )
        self.follows[key] = follow
        self.journal.append({"line": "follow", **asdict(follow)})
        self._apply(follow)
        return code

    def _judge_capture(self, purchase: Purchase | None, amount: int, key: tuple[str, str]) -> str:
        if purchase is None or purchase.standing != "approved" or purchase.kind != "authorize":
            return NOT_LOCATED
        return APPROVED if 0 < amount <= purchase.amount - purchase.captured else LIMIT

    def _judge_refund(self, purchase: Purchase | None, amount: int, key: tuple[str, str]) -> str:
        if purchase is None or purchase.standing != "approved":
            return NOT_LOCATED
        return APPROVED if 0 < amount <= purchase.captured - purchase.refunded else LIMIT

    def _judge_reversal(self, purchase: Purchase | None, amount: int, key: tuple[str, str]) -> str:
        if purchase is None:
            return NOT_LOCATED
        if purchase.taken_back or purchase.code != APPROVED:
            return APPROVED  # there is nothing to give back, and there never will be
        completed = purchase.kind == "authorize" and purchase.captured > 0
        return NO_ACTION if completed or purchase.refunded else APPROVED

    def _apply(self, follow: Follow) -> None:
        purchase = self.purchases.get((follow.terminal, follow.rrn))
        if follow.kind == "reversal" and purchase is None:
            self.refused_for_good.add((follow.terminal, follow.rrn))
        elif purchase is None or follow.code != APPROVED:
            return
        elif follow.kind == "capture":
            purchase.captured += follow.amount
        elif follow.kind == "refund":
            purchase.refunded += follow.amount
        else:
            purchase.taken_back, purchase.captured = True, 0

    def _recall(self, line: dict[str, Any]) -> None:
        kind = line.pop("line")
        if kind == "purchase":
            purchase = Purchase(**line)
            self.purchases[purchase.terminal, purchase.rrn] = purchase
        elif kind == "call":
            terminal, rrn, *stan = line["key"]
            known = self.follows[terminal, rrn, stan[0]] if stan else self.purchases[terminal, rrn]
            known.calls += 1
        else:
            assert kind == "follow", f"unknown journal line {kind}"
            follow = Follow(**line)
            self.follows[follow.terminal, follow.rrn, follow.stan] = follow
            self._apply(follow)
