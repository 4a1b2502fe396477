"""What the sandbox rails really did: the world's side of the books.

Decides each order by the rail's own rules, exactly once per key, and writes it down before anybody
hears of it. Money effects are synchronous: between a check and its record nothing else runs.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from rails.sandbox.journal import Journal
from rails.sandbox.networks import NETWORKS
from rails.sandbox.notices import (
    Dispute,
    Notice,
    changes_of,
    correction_of,
    dispute_of,
    notice_of_step,
    notices_after,
    settlement_of,
    verdict_on,
)
from rails.sandbox.orders import Operation, Order
from rails.sandbox.scenarios import (
    APPROVES,
    NOTICE_AFTER_SECONDS,
    REFUND_FAILS_AFTER_SECONDS,
    Conduct,
    conduct_of,
    scenario_of_card,
    scenario_of_destination,
    scenario_of_token,
)
from rails.sandbox.settlement_files import Settled, lines_of

Clock = Callable[[], float]


class OrderConflictError(Exception):
    """The key was used for another order before; what that one did stands. Not retryable."""


class KeyClosedError(Exception):
    """An inquiry was told for good that this key never happened, so it never will. Not retryable."""


class Truth:
    """All operations and disputes, in memory and in the journal. One event loop, one process."""

    def __init__(self, journal: Journal, *, clock: Clock = time.time) -> None:
        self._journal = journal
        self._clock = clock
        self._operations: dict[tuple[str, str], Operation] = {}
        self._referring: dict[tuple[str, str], list[Operation]] = {}
        self._closed: set[tuple[str, str]] = set()
        self._disputes: dict[str, Dispute] = {}
        self._notices: dict[str, Notice] = {}
        self._faults: Counter[str] = Counter()
        self._on_news: Callable[[Dispute | Notice], None] | None = None
        for line in journal.replay():
            self._recall(line)

    def subscribe(self, on_news: Callable[[Dispute | Notice], None]) -> list[Dispute | Notice]:
        """Call `on_news` for every new dispute and notice; return those still to be delivered."""
        self._on_news = on_news
        told: list[Dispute | Notice] = [*self._disputes.values(), *self._notices.values()]
        return [one for one in told if not one.delivered]

    def take(self, order: Order) -> Operation | None:
        """Carry out an order, or find it carried out. None: its connection is to be refused.

        Idempotent on (rail, rail_key).

        Raises:
            OrderConflictError: the key belongs to another order.
            KeyClosedError: the key was declared never to have happened.
        """
        key = (order.rail, order.rail_key)
        known = self._operations.get(key)
        if known is not None:
            if known.fingerprint != order.fingerprint:
                raise OrderConflictError(f"{order.rail_key} was used for another order")
            known.calls += 1
            self._journal.append({"line": "call", "rail": known.rail, "rail_key": known.rail_key})
            return known
        if key in self._closed:
            raise KeyClosedError(f"{order.rail_key} was declared never to have happened")
        scenario, conduct = self._judge(order)
        if conduct.refused:
            return None
        operation = self._write_down(order, scenario, conduct)
        self._follow(operation)
        if conduct.says_first is not None:
            self.announce(correction_of(operation, effect=operation, now=self._clock()))
        return operation

    def do_again(self, operation: Operation) -> None:
        """Do an approved order a second time, under a key of the rail's own, and tell of it later: a rail at fault."""
        if operation.ending != "approved":
            return
        twin = replace(operation, rail_key=f"{operation.rail_key}#2", reference=f"{operation.reference}_2", calls=1)
        if (twin.rail, twin.rail_key) not in self._operations:
            self._remember(twin)
            self._journal.append({"line": "operation", **asdict(twin)})
            self.announce(correction_of(operation, effect=twin, now=self._clock()))

    def find(self, rail: str, rail_key: str) -> Operation | None:
        """Return the operation under a key."""
        return self._operations.get((rail, rail_key))

    def close_key(self, rail: str, rail_key: str) -> None:
        """Promise that an unknown key never happens. Idempotent."""
        key = (rail, rail_key)
        assert key not in self._operations
        if key not in self._closed:
            self._closed.add(key)
            self._journal.append({"line": "closed", "rail": rail, "rail_key": rail_key})

    def mark_delivered(self, told: Dispute | Notice) -> None:
        """Remember that the merchant's side acknowledged a dispute or a notice."""
        told.delivered = True
        self._journal.append({"line": "delivered", "id": told.id})

    def note_fault(self, kind: str, rail: str, flow: str) -> None:
        """Remember that a fault was met, for whoever asks afterwards what this world was like."""
        self._faults[f"{kind} {flow}"] += 1
        self._journal.append({"line": "fault", "kind": kind, "rail": rail, "flow": flow})

    def document(self) -> dict[str, Any]:
        """Return the public truth: operations with an effect or a final answer, disputes, and what came back."""
        now = self._clock()
        operations: list[dict[str, Any]] = []
        pending: list[dict[str, Any]] = []
        for operation in self._operations.values():
            if operation.kind == "evidence":
                continue  # Words, not money: told with the dispute they are about.
            row = _truth_row(operation, now)
            (pending if row["outcome"] == "pending" else operations).append(row)
        return {
            "operations": operations,
            "pending": pending,
            "disputes": [asdict(dispute) for dispute in self._disputes.values()],
            "faults": dict(self._faults),
            "notices": [asdict(notice) for notice in self._notices.values()],
            "closed_keys": [{"rail": rail, "rail_key": rail_key} for rail, rail_key in sorted(self._closed)],
        }

    def now(self) -> float:
        """Return the sandbox's own clock, in seconds since the epoch."""
        return self._clock()

    def _judge(self, order: Order) -> tuple[str, Conduct]:
        network = NETWORKS[order.rail]
        if order.kind in ("capture", "void", "refund"):
            return self._judge_referring(order)
        if order.kind == "evidence":
            return "evidence", self._judge_evidence(order)
        if order.kind == "payout":
            scenario = scenario_of_destination(order.destination)
            if order.destination.get("type") not in network.destinations:
                return scenario, _declines("destination_not_supported")
        elif order.card_number:
            scenario = scenario_of_card(order.card_number)
        else:
            scenario = scenario_of_token(order.source or "")
        conduct = conduct_of(
            scenario,
            rail=order.rail,
            rail_key=order.rail_key,
            approval_odds=network.approval_odds,
            authenticated=order.authenticated,
        )
        return scenario, conduct

    def _judge_referring(self, order: Order) -> tuple[str, Conduct]:
        """Apply the rail's rules to a capture, void or refund of an earlier authorization."""
        original = self._operations.get((order.rail, order.original or ""))
        if original is None or original.kind != "authorize" or original.ending != "approved":
            return "approved", _declines("original_not_found")
        if order.currency != original.currency:
            return original.scenario, _declines("currency_mismatch")
        refusal = self._refusal_by_balance(order, original)
        if refusal is not None:
            return original.scenario, _declines(refusal)
        if order.kind == "refund" and original.scenario == "refund_fails":
            late_no = Conduct(
                ending="declined", decline_code="account_closed", decided_after_seconds=REFUND_FAILS_AFTER_SECONDS
            )
            return original.scenario, late_no
        return original.scenario, APPROVES

    def _judge_evidence(self, order: Order) -> Conduct:
        """Take evidence for a dispute that is open; what it says decides, as at Stripe's test bank."""
        dispute = self.dispute(order.dispute or "")
        if dispute is None or dispute.rail != order.rail:
            return _declines("dispute_not_found")
        if dispute.status != "open":
            return _declines("dispute_not_open")
        self.change_dispute(dispute, status="under_review", evidence=order.evidence)
        verdict = verdict_on(order.evidence or "")
        if verdict is not None:
            self.decide_dispute(dispute, verdict, due_at=self._clock() + NOTICE_AFTER_SECONDS)
        return APPROVES

    def dispute(self, name: str) -> Dispute | None:
        """Return a dispute by its id or its reference."""
        return next((one for one in self._disputes.values() if name in (one.id, one.reference)), None)

    def change_dispute(self, dispute: Dispute, **changes: Any) -> None:
        """Change a dispute, and write it down."""
        for name, value in changes.items():
            setattr(dispute, name, value)
        self._journal.append({"line": "dispute_changed", "id": dispute.id, "changes": changes})

    def decide_dispute(self, dispute: Dispute, step: str, *, amount: int | None = None, due_at: float) -> None:
        """Take a dispute one step on and tell the merchant's side.

        Raises:
            ValueError: this dispute has no such step (any more). Nothing changed.
        """
        changes = changes_of(dispute, step, amount)
        self.change_dispute(dispute, **changes)
        self.announce(notice_of_step(dispute, step, due_at))

    def settle(self, rail: str, basis_points: int, fixed: int) -> int:
        """Settle what was captured on a rail and not settled yet, each with the rail's fee; return how many."""
        settled = {notice.rail_key for notice in self._notices.values() if notice.type == "charge.settled"}
        due = [
            (operation, captured)
            for operation in list(self._operations.values())
            if operation.rail == rail and operation.kind == "authorize" and operation.rail_key not in settled
            if operation.outcome(self._clock()) == "approved" and (captured := self._standing(operation)[0])
        ]
        for operation, captured in due:
            fee = (captured * basis_points + 5_000) // 10_000 + fixed
            self.announce(settlement_of(operation, captured, fee, self._clock()))
        return len(due)

    def settled(self, rail: str) -> list[Settled]:
        """Return what a rail has done with money, line by line, at the price of `settle` unless told otherwise."""
        return lines_of(
            [one for one in self._operations.values() if one.rail == rail and not self._came_back(one, self._clock())],
            [one for one in self._disputes.values() if one.rail == rail],
            now=self._clock(),
            captured=self._captured,
            fee=lambda captured: (captured * 50 + 5_000) // 10_000 + 20,
        )

    def _captured(self, operation: Operation) -> tuple[int, float]:
        """Return what was captured of an authorization, and when the last of it was."""
        later = self._referring.get((operation.rail, operation.rail_key), ())
        at = max((one.decided_at for one in later if one.kind == "capture"), default=operation.decided_at)
        return self._standing(operation)[0], at

    def _refusal_by_balance(self, order: Order, original: Operation) -> str | None:
        captured, refunded, voided = self._standing(original)
        if order.kind == "refund":
            return "amount_exceeds_captured" if refunded + order.amount > captured else None
        if voided:
            return "authorization_voided"
        if order.kind == "void":
            return "already_captured" if captured else None
        return "amount_exceeds_authorized" if captured + order.amount > original.amount else None

    def _standing(self, original: Operation) -> tuple[int, int, bool]:
        """Return (captured, refunded or about to be, voided) of an authorization."""
        now = self._clock()
        captured = original.amount if original.capture else 0
        refunded, voided = 0, False
        for later in self._referring.get((original.rail, original.rail_key), ()):
            if later.outcome(now) == "declined" or self._came_back(later, now):
                continue
            if later.kind == "capture":
                captured += later.amount
            elif later.kind == "refund":
                refunded += later.amount
            else:
                voided = True
        return captured, refunded, voided

    def _came_back(self, operation: Operation, now: float) -> bool:
        """Tell whether money the rail had sent is back: the refund or payout counts no more."""
        return any(
            notice.moves == "credit" and notice.due_at <= now
            for notice in self._notices.values()
            if (notice.rail, notice.rail_key) == (operation.rail, operation.rail_key)
        )

    def _write_down(self, order: Order, scenario: str, conduct: Conduct) -> Operation:
        now = self._clock()
        delay = NETWORKS[order.rail].decided_after_seconds or conduct.decided_after_seconds
        operation = Operation(
            rail=order.rail,
            rail_key=order.rail_key,
            kind=order.kind,
            amount=order.amount,
            currency=order.currency,
            ending=conduct.ending,
            at=now,
            decided_at=now + delay,
            reference=f"{order.rail}_{secrets.token_hex(8)}",
            fingerprint=order.fingerprint,
            scenario=scenario,
            decline_code=conduct.decline_code,
            original=order.original,
            source=order.source,
            capture=order.capture and order.kind == "authorize",
            answered=conduct.answered,
            inquiry_tells=conduct.inquiry_tells,
            says_first=conduct.says_first,
        )
        self._remember(operation)
        self._journal.append({"line": "operation", **asdict(operation)})
        return operation

    def _follow(self, operation: Operation) -> None:
        """Let what the scenario holds follow: a dispute of the first money taken, money that comes back."""
        dispute = dispute_of(operation, self._clock())
        if dispute is not None and not any(
            (other.rail, other.rail_key) == (dispute.rail, dispute.rail_key) for other in self._disputes.values()
        ):
            self._disputes[dispute.id] = dispute
            self._journal.append({"line": "dispute", **asdict(dispute)})
            self._tell(dispute)
        for notice in notices_after(operation):
            self.announce(notice)

    def announce(self, notice: Notice) -> None:
        """Write a notice down and have it delivered."""
        self._notices[notice.id] = notice
        self._journal.append({"line": "notice", **asdict(notice)})
        self._tell(notice)

    def _tell(self, told: Dispute | Notice) -> None:
        if self._on_news is not None:
            self._on_news(told)

    def _remember(self, operation: Operation) -> None:
        self._operations[operation.rail, operation.rail_key] = operation
        if operation.original is not None:
            self._referring.setdefault((operation.rail, operation.original), []).append(operation)

    def _recall(self, line: dict[str, Any]) -> None:
        kind = line.pop("line")
        if kind == "operation":
            self._remember(Operation(**line))
        elif kind == "call":
            self._operations[line["rail"], line["rail_key"]].calls += 1
        elif kind == "fault":
            self._faults[f"{line['kind']} {line['flow']}"] += 1
        elif kind == "closed":
            self._closed.add((line["rail"], line["rail_key"]))
        elif kind == "dispute":
            self._disputes[line["id"]] = Dispute(**line)
        elif kind == "dispute_changed":
            for name, value in line["changes"].items():
                setattr(self._disputes[line["id"]], name, value)
        elif kind == "notice":
            self._notices[line["id"]] = Notice(**line)
        else:
            assert kind == "delivered", f"unknown journal line {kind}"
            told: Dispute | Notice = self._disputes.get(line["id"]) or self._notices[line["id"]]
            told.delivered = True


def _declines(code: str) -> Conduct:
    return Conduct(ending="declined", decline_code=code)


def _truth_row(operation: Operation, now: float) -> dict[str, Any]:
    return {
        "rail": operation.rail,
        "rail_key": operation.rail_key,
        "kind": operation.kind,
        "amount": operation.amount,
        "currency": operation.currency,
        "outcome": operation.outcome(now),
        "calls": operation.calls,
        "at": datetime.fromtimestamp(operation.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reference": operation.reference,
        "decline_code": operation.code(now),
        "original_rail_key": operation.original,
        "capture": operation.capture,
        "source": operation.source,
    }
