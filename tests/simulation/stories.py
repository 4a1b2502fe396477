"""What the simulated clients set out to do: stories of keyed requests, all drawn from one seed. Pure.

A story is a first request that makes an object and later ones about it. Amounts, tokens and manners
are drawn here, so a seed and a commit reproduce what was asked for (not the order in which it ran).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Body = dict[str, Any]
ACCOUNTS = ("acct_sim_a", "acct_sim_b", "acct_sim_c")
ACCOUNT_FUNDS_MINOR = 400_000
CURRENCIES = ("EUR", "EUR", "EUR", "EUR", "USD", "JPY")
IBAN = "DE89370400440532013000"

TOKENS = (
    ("tok_visa_4291", 8),
    ("tok_declined_hard", 2),
    ("tok_declined_soft", 2),
    ("tok_soft_then_approved", 4),
    ("tok_hard_then_approved", 1),
    ("tok_not_attempted", 3),
    ("tok_timeout_approved", 3),
    ("tok_timeout_declined", 2),
    ("tok_timeout_forever", 1),
    ("tok_risk_block", 1),
    ("tok_disputed", 2),
    ("tok_late_approved", 2),
    ("tok_inquiry", 1),
)
BENEFICIARIES = ("Ada Ordinary", "Ada Ordinary", "Ada SOFT", "Ada DECLINE", "Ada TIMEOUT", "Ada REFUSE")
BENEFICIARIES += ("Ada RETURN", "Ada RETURN TWICE", "Ada FAIL LATER")


class Manners(StrEnum):
    """How a client sends a request.

    PLAIN once; TWICE three times at once; IMPATIENT hangs up after some milliseconds and asks again;
    FORGETFUL asks again after the answer; FICKLE then asks for another amount under the same key.
    All of them retry with the same key until they have an answer.
    """

    PLAIN = "plain"
    TWICE = "twice"
    IMPATIENT = "impatient"
    FORGETFUL = "forgetful"
    FICKLE = "fickle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One keyed POST. `{id}` in path and body stands for the story's object.

    `when`: the statuses of the object in which the step is taken at all. `with_next`: sent at the
    same moment as the step after it.
    """

    key: str
    path: str
    body: Body
    manners: Manners = Manners.PLAIN
    patience_seconds: float = 0.03
    when: frozenset[str] | None = None
    with_next: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Steps in order; the first makes the object the others are about."""

    kind: str
    steps: tuple[Step, ...] = field(default=())


class Teller:
    """Draws stories from a seed until they hold `operations` requests."""

    def __init__(self, seed: int, operations: int) -> None:
        self._dice = random.Random(seed)
        self._seed = seed
        self._operations = operations
        self._count = 0

    def tell(self) -> list[Story]:
        """Return the stories, in the order in which clients take them up."""
        kinds: tuple[tuple[Callable[[], Story], int], ...] = (
            (self._sale, 8),
            (self._sale_and_refunds, 4),
            (self._late_capture, 4),
            (self._confirmed_by_customer, 2),
            (self._refund_that_fails, 1),
            (self._payout, 3),
            (self._transfer, 4),
        )
        tellers, weights = zip(*kinds, strict=True)
        stories = []
        while self._count < self._operations:
            (teller,) = self._dice.choices(tellers, weights)
            stories.append(teller())
        return stories

    def _step(self, path: str, body: Body, **terms: Any) -> Step:
        self._count += 1
        manners = self._dice.choices(list(Manners), (5, 2, 2, 1, 1))[0]
        if "amount" not in body and manners is Manners.FICKLE:
            manners = Manners.FORGETFUL
        patience = self._dice.uniform(0.002, 0.08)
        key = f"sim_{self._seed}_{self._count}"
        return Step(key=key, path=path, body=body, manners=manners, patience_seconds=patience, **terms)

    def _charge(self, source: str, *, capture: bool = True, currency: str | None = None) -> Step:
        body: Body = {
            "amount": self._dice.randint(200, 30_000),
            "currency": currency or self._dice.choice(CURRENCIES),
            "source": source,
            "capture": capture,
        }
        if body["currency"] == "EUR" and self._dice.random() < 0.5:
            body["account"] = self._dice.choice(ACCOUNTS)
        return self._step("/charges", body)

    def _sale(self) -> Story:
        names, weights = zip(*TOKENS, strict=True)
        return Story(kind="sale", steps=(self._charge(self._dice.choices(names, weights)[0]),))

    def _sale_and_refunds(self) -> Story:
        charge = self._charge(self._dice.choice(("tok_visa_4291", "tok_soft_then_approved", "tok_timeout_approved")))
        refunds = []
        for _ in range(self._dice.randint(1, 3)):
            body: Body = {"charge": "{id}"}
            if self._dice.random() < 0.8:
                body["amount"] = max(1, int(charge.body["amount"] * self._dice.choice((0.2, 0.4, 0.6, 1.1))))
            refunds.append(self._step("/refunds", body, when=frozenset({"settled", "captured"})))
        return Story(kind="sale and refunds", steps=(charge, *refunds))

    def _late_capture(self) -> Story:
        charge = self._charge("tok_visa_4291", capture=False)
        amount, when = charge.body["amount"], frozenset({"authorized"})
        capture, void = "/charges/{id}/capture", "/charges/{id}/void"
        ending = self._dice.choice(("all", "part", "parts", "void", "race", "left", "too much"))
        steps: tuple[Step, ...] = ()
        if ending == "all":
            steps = (self._step(capture, {}, when=when),)
        elif ending == "part":
            steps = (self._step(capture, {"amount": amount // 3}, when=when),)
        elif ending == "parts":
            first = self._step(capture, {"amount": amount // 4, "final": False}, when=when)
            steps = (first, self._step(capture, {"amount": amount // 2}, when=when))
        elif ending == "void":
            steps = (self._step(void, {}, when=when),)
        elif ending == "race":
            steps = (self._step(capture, {}, when=when, with_next=True), self._step(void, {}, when=when))
        elif ending == "too much":
            steps = (self._step(capture, {"amount": amount + 1}, when=when),)
        return Story(kind=f"late capture: {ending}", steps=(charge, *steps))

    def _confirmed_by_customer(self) -> Story:
        charge = self._charge(self._dice.choice(("tok_3ds", "tok_risk_step_up")))
        result = self._dice.choice(("success", "success", "failure", None))
        if result is None:
            return Story(kind="abandoned step-up", steps=(charge,))
        waiting = frozenset({"requires_action"})
        answer = self._step("/charges/{id}/authenticate", {"result": result}, when=waiting)
        return Story(kind=f"step-up: {result}", steps=(charge, answer))

    def _refund_that_fails(self) -> Story:
        charge = self._charge(self._dice.choice(("tok_refund_fails", "tok_refund_fails_late")))
        body = {"charge": "{id}", "amount": max(1, charge.body["amount"] // 2)}
        refund = self._step("/refunds", body, when=frozenset({"settled", "captured"}))
        return Story(kind="refund that fails", steps=(charge, refund))

    def _payout(self) -> Story:
        name = self._dice.choice(BENEFICIARIES)
        body = {
            "amount": self._dice.randint(100, 20_000),
            "currency": "EUR",
            "source": self._dice.choice(ACCOUNTS),
            "destination": {"type": "iban", "iban": IBAN, "name": name},
        }
        return Story(kind=f"payout to {name}", steps=(self._step("/payouts", body),))

    def _transfer(self) -> Story:
        source, destination = self._dice.sample(ACCOUNTS, 2)
        amount = self._dice.choice((1, 99, 8_420, 50_000, 5_000_000))
        body = {"amount": amount, "currency": "EUR", "source": source, "destination": destination}
        return Story(kind="transfer", steps=(self._step("/transfers", body),))
