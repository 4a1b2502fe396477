"""Looking at a world that has come to rest: the auditor's books beside ours, and everything the API says."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from temporalio.client import Client as TemporalClient

from tests.e2e.shop import Shop, World
from tests.simulation.auditor import FINAL_STATUSES, Auditor, Document, Effect, object_of
from tests.simulation.books import Books
from tests.simulation.crowd import Notebook
from tests.simulation.event_audit import event_findings
from tests.simulation.settling import settle

REST_SECONDS_MAX = 90.0
NOTICE_SECONDS_MAX = 700.0
"""A rail's late word about an object that was not final yet is looked at again after ten minutes at the latest."""
POLL_SECONDS = 0.5
OPEN_DISPUTES = frozenset({"warning_needs_response", "warning_under_review", "needs_response", "under_review"})
"""Each waits for the merchant's evidence or for the bank."""
COLLECTIONS = {"charge": "/charges", "refund": "/refunds", "payout": "/payouts", "transfer": "/transfers"}


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What came of a world; `findings` is empty when all is well."""

    seed: int
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    chaos: list[str] = field(default_factory=list)
    events: int = 0
    rail_operations: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    manners: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    settled: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def document(self) -> Document:
        """Everything, for a report."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.requests} keyed requests, {self.retries} retries, {self.seconds:.0f} s",
            *self.chaos,
            _listed("statuses", self.statuses),
            _listed("faults met", self.faults),
            _listed("killed", self.kills),
            _listed("manners", self.manners),
            _listed("lines settled", self.settled),
            *(f"FINDING {finding}" for finding in self.findings),
            "the books equal the rails' truth" if not self.findings else f"{len(self.findings)} findings",
        ]
        return "\n".join(lines)


def without_pairs(effects: Counter[Effect], given_back: set[str]) -> Counter[Effect]:
    """Return the bookings without those that took something and gave it back, for objects that may have both."""
    left = Counter(effects)
    for effect in effects:
        opposite = replace(effect, direction="credit" if effect.direction == "debit" else "debit")
        if effect.direction == "debit" and (effect.object_id in given_back or "orphan" in effect.object_id):
            pairs = min(left[effect], left[opposite])
            left[effect] -= pairs
            left[opposite] -= pairs
    return left


def _listed(what: str, counts: Mapping[str, int]) -> str:
    return f"{what}: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


class Inspection:
    """Lets the world come to rest and compares its sides."""

    def __init__(
        self, sandbox: Document, notebook: Notebook, verdict: Verdict, *, lists_workflows: bool = True
    ) -> None:
        """`sandbox` is what `sandbox.json` says of the instance; the time-skipping server lists no workflows."""
        self._lists_workflows = lists_workflows
        self._temporal_address = sandbox["temporal_address"]
        self._rails_url = sandbox["rails_url"]
        self._notebook = notebook
        self._verdict = verdict
        self._shop = Shop(sandbox["api_url"], sandbox["test_key"])
        self._admin = Shop(sandbox["api_url"], sandbox["admin_key"])
        self._world = World(sandbox["rails_url"])
        self._books = Books(sandbox["database_url"])

    def run(self) -> None:
        """Fill in the verdict."""
        self._world.heal()
        auditor = self._await_rest()
        truth = self._world.truth()
        self._verdict.faults, self._verdict.rail_operations = truth.get("faults", {}), len(truth["operations"])
        expected = auditor.derive()
        self._verdict.findings += expected.findings
        self._verdict.findings += self._books.violations()
        self._compare("balance", expected.balances, self._books.balances())
        booked = without_pairs(self._books.clearing_effects(), auditor.given_back)
        wanted = without_pairs(expected.effects, auditor.given_back)
        self._compare("booking on a rail's clearing account", wanted, booked)
        self._compare("hold", expected.holds, self._books.open_holds())
        self._check_events()
        self._check_refusals_moved_nothing(truth)
        self._check_nothing_is_lost_or_extra()
        self._check_api(expected.balances)
        if self._lists_workflows:
            self._check_workflows(auditor)
            # Last: it changes the books.
            self._check_settlement()
        for document in self._notebook.documents.values():
            name = f"{document['object']} {document['status']}"
            self._count(self._verdict.statuses, name)
        for client in (self._shop, self._admin, self._world):
            client.close()

    def _await_rest(self) -> Auditor:
        """Return an auditor once every object is final or waits for somebody, or time is up."""
        started = time.monotonic()
        while True:
            for name, document in list(self._notebook.documents.items()):
                if document["status"] not in FINAL_STATUSES[document["object"]]:
                    self._look_again(name, document)
            truth, disputes = self._world.truth(), self._shop.every("/disputes")
            auditor = Auditor(
                truth=truth,
                documents=self._notebook.documents,
                disputes=disputes,
                open_exceptions=self._shop.every("/reconciliation/exceptions", status="open"),
                prices=self._prices(),
            )
            restless = [document for document in self._notebook.documents.values() if not _rests(auditor, document)]
            told = len(disputes) == len(truth["disputes"]) and not truth["pending"]
            told = told and all(notice["delivered"] for notice in truth["notices"]) and not self._open_orphans()
            told = told and not self._books.notices_waiting()
            waited, most = time.monotonic() - started, NOTICE_SECONDS_MAX if self._notices_sleep() else REST_SECONDS_MAX
            if (not restless and told and most == REST_SECONDS_MAX) or waited > most:
                return self._refreshed(auditor)
            time.sleep(POLL_SECONDS)

    def _notices_sleep(self) -> bool:
        if not self._lists_workflows:
            return False
        running = asyncio.run(self._workflow_ids("ExecutionStatus = 'Running' AND TaskQueue = 'payments'"))
        return any("/notice:" in workflow_id for workflow_id in running)

    def _open_orphans(self) -> bool:
        exceptions = self._shop.every("/reconciliation/exceptions", status="open")
        return any(exception["kind"] == "orphan" for exception in exceptions)

    def _refreshed(self, auditor: Auditor) -> Auditor:
        """Read every object once more: refunds and chargebacks may have changed what was last seen."""
        for name, document in list(self._notebook.documents.items()):
            if not self._look_again(name, document):
                self._verdict.findings.append(f"{name} was told to a client, but is not to be found")
        return auditor

    def _look_again(self, name: str, document: Document) -> bool:
        """Take an object's state as it is now; False while it is told as running, but not committed yet."""
        answer = self._shop.send("GET", f"/v1{COLLECTIONS[document['object']]}/{name}")
        assert answer.status_code in (200, 404), answer.text
        if answer.status_code == 200:
            self._notebook.documents[name] = answer.json()
        return answer.status_code == 200

    def _prices(self) -> dict[str, dict[str, int]]:
        prices: dict[str, dict[str, int]] = self._shop.get("/pricing")["prices"]
        assert prices["EUR"] == {"basis_points": 140, "fixed": 40}, "the contract's own price"
        return prices

    def _compare(self, what: str, expected: Mapping[Any, int], actual: Mapping[Any, int]) -> None:
        for name in sorted({*expected, *actual}, key=str):
            if expected.get(name, 0) != actual.get(name, 0):
                self._verdict.findings.append(
                    f"{what} {name}: the world says {expected.get(name, 0)}, the books say {actual.get(name, 0)}"
                )

    def _check_settlement(self) -> None:
        """What the rails settled and the bank was paid is what the books have, line by line; then the books prove."""
        settling = settle(self._rails_url, self._admin)
        self._verdict.settled = dict(settling.matched)
        asked = self._shop.every("/reconciliation/exceptions", status="open")
        for_a_person = {one["subject"] for one in asked if one["kind"] == "unknown_outcome"}
        self._verdict.findings += [
            f"settlement break: {told}" for subject, told in settling.breaks if subject not in for_a_person
        ]
        self._verdict.findings += self._books.violations()

    def _check_events(self) -> None:
        events = self._shop.events()
        disputes = {dispute["id"]: dispute for dispute in self._shop.every("/disputes")}
        self._verdict.events = len(events)
        self._verdict.findings += event_findings(events, {**self._notebook.documents, **disputes})

    def _check_refusals_moved_nothing(self, truth: Document) -> None:
        """A request that never got a 2xx left no money moved: not at a rail, not in the books."""
        told: dict[str, set[int]] = {}
        for answer in self._notebook.answers:
            told.setdefault(answer.key, set()).add(answer.status)
            self._count(self._verdict.answers, str(answer.status))
        refused = {key for key, statuses in told.items() if min(statuses) >= 400}
        for key, account, moved in self._books.moved_for(refused):
            self._verdict.findings.append(f"{key} was refused, yet {moved} moved on {account}")

        done = Counter(
            answer.document["id"]
            for answer in {answer.key: answer for answer in self._notebook.answers if answer.status < 300}.values()
            if answer.document is not None and answer.path.endswith(("/capture", "/void"))
        )
        ordered = Counter(
            object_of(row["rail_key"])
            for row in truth["operations"]
            if row["kind"] in ("capture", "void") and row["outcome"] == "approved" and ".orphan-" not in row["rail_key"]
        )
        for charge, count in (ordered - done).items():
            self._verdict.findings.append(f"{count} captures or voids of {charge} happened that no client was told of")

    @staticmethod
    def _count(counts: dict[str, int], name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    def _check_nothing_is_lost_or_extra(self) -> None:
        listed = {document["id"] for path in COLLECTIONS.values() for document in self._shop.every(path)}
        known = self._notebook.documents.keys()
        for name in listed ^ known:
            where = "listed but no client was told of it" if name in listed else "told to a client but not listed"
            self._verdict.findings.append(f"{name} is {where}")
        made = {
            answer.key
            for answer in self._notebook.answers
            if answer.document is not None
            and answer.path == COLLECTIONS[answer.document["object"]]
            and answer.code != "idempotency_key_reused"
        }
        for key in made - self._books.claimed_keys():
            self._verdict.findings.append(f"{key} was answered with an object but is not remembered")

    def _check_api(self, expected: Mapping[tuple[str, str], int]) -> None:
        for account in self._shop.every("/accounts"):
            posted = self._shop.posted(account["id"])
            if posted != expected.get((account["id"], account["currency"]), 0):
                self._verdict.findings.append(f"the API shows {posted} on {account['id']}")
        for currency in self._admin.get("/ledger/trial_balance")["currencies"]:
            if currency["delta"] != 0:
                self._verdict.findings.append(f"the trial balance of {currency} is not zero")
        invariants = self._admin.get("/ledger/invariants", full="true")
        if not invariants["ok"]:
            self._verdict.findings.append(f"the core itself sees {invariants['violations']}")

    def _check_workflows(self, auditor: Auditor) -> None:
        """Exactly what waits for somebody runs on, and no run ended in a failure."""
        waiting = {
            document["workflow_id"]
            for document in self._notebook.documents.values()
            if auditor.awaiting_somebody(document)
        }
        disputes = self._shop.every("/disputes")
        waiting |= {one["workflow_id"] for one in disputes if one["status"] in OPEN_DISPUTES}
        deadline = time.monotonic() + 20
        while True:
            running = asyncio.run(self._workflow_ids("ExecutionStatus = 'Running' AND TaskQueue = 'payments'"))
            if running == waiting or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        for workflow_id in running ^ waiting:
            state = "still runs" if workflow_id in running else "does not run although its object is open"
            self._verdict.findings.append(f"workflow {workflow_id} {state}")
        ended_badly = "ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut', 'Canceled')"
        for workflow_id in asyncio.run(self._workflow_ids(ended_badly)):
            self._verdict.findings.append(f"workflow {workflow_id} ended in a failure")

    async def _workflow_ids(self, query: str) -> set[str]:
        client = await TemporalClient.connect(self._temporal_address)
        return {run.id async for run in client.list_workflows(query)}


def _rests(auditor: Auditor, document: Document) -> bool:
    return document["status"] in FINAL_STATUSES[document["object"]] or auditor.awaiting_somebody(document)
