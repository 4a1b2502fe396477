"""Closing an exception by a person's decision: one commit of it, its money, its event and its audit record."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from api.context import Core
from api.errors import Problem
from api.idempotency import KeyedRequest, check_same_request, find_key
from api.reading import Row
from domain.facts import Fact
from domain.ledger import AuditDraft, EventDraft, Posting, Record, RecordKind, Refusal, RefusalCode
from domain.payout_stop import PLATFORM
from domain.settlement import Settlement
from domain.timestamps import rfc3339
from operations.settlements import settle_charge
from reconciliation.resolutions import ACTIONS, Resolution, ResolutionRefusedError, facts_of

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided, and why. `amount_minor` is signed: what the rail's side has more, or less."""

    action: Literal["approved", "declined", "accept", "write_off", "credit_account"]
    note: str
    account: str | None = None
    amount_minor: int | None = None


async def close_exception(core: Core, asked: KeyedRequest, row: Row, decision: Decision, *, claimed: bool) -> bool:
    """Close an exception; return whether an earlier request with this key did. Idempotent on the request's key.

    Where a settled line differed from its charge and the difference is dealt with, the charge is settled as well.

    Raises:
        Problem: 409 the exception is closed by now or in another way, 422 the decision does not fit it or the
            ledger refused. Not retryable.
        ConnectionError, RPCError: something is away. Retryable with the same key.
    """
    exception: Document = row["document"]
    replayed = claimed or await _commit(core, asked, row, decision)
    settlement = _settlement(asked, exception, decision)
    if settlement is not None:
        # Started again by a repeat, for the process may have died before: it exists once.
        await settle_charge(core.services.temporal, settlement)
    return replayed


async def _commit(core: Core, asked: KeyedRequest, row: Row, decision: Decision) -> bool:
    exception = row["document"]
    if exception["kind"] not in ACTIONS:
        raise Problem(409, "exception_not_resolvable", "This exception closes with what it is about, see its subject.")
    if exception["status"] != "open":
        raise _closed()
    facts = _facts(asked, exception, decision)
    posting = _posting(asked, row, decision, facts)
    result = await core.services.book.post(posting)
    if result.refusal is None and not result.duplicate:
        return False
    again = await find_key(core.reads, asked)
    if again is not None:
        check_same_request(asked, again)
        return True
    if result.refusal is None or result.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS:
        raise _closed()
    raise _refused(result.refusal)


def _facts(asked: KeyedRequest, exception: Document, decision: Decision) -> tuple[Fact, ...]:
    if decision.action == "approved" or decision.action == "declined":
        allowed = ", ".join(ACTIONS[exception["kind"]])
        raise Problem(422, "action_not_possible", f"A {exception['kind']} takes {allowed}.", param="action")
    if decision.action == "credit_account" and asked.merchant.merchant_id == PLATFORM:
        detail = "The exception is nobody's in particular, so it names no merchant whose account it could be."
        raise Problem(422, "action_not_possible", detail, param="action")
    wanted = Resolution(action=decision.action, account=decision.account, amount_minor=decision.amount_minor)
    try:
        return facts_of(exception, wanted)
    except ResolutionRefusedError as error:
        raise Problem(422, error.code, error.detail, param=error.param) from None


def _posting(asked: KeyedRequest, row: Row, decision: Decision, facts: tuple[Fact, ...]) -> Posting:
    version, exception_id = row["version"] + 1, row["id"]
    moved = next((fact.amount_minor for fact in facts if hasattr(fact, "amount_minor")), None)
    resolution = {
        "action": decision.action,
        "note": decision.note,
        "actor": asked.merchant.actor,
        "amount": moved,
        "account": decision.account,
        "ledger_transaction": None,
        "resolved_at": rfc3339(datetime.now(UTC)),
    }
    document = {**row["document"], "status": "resolved", "resolution": resolution}
    details = {"action": decision.action, "note": decision.note, "amount": moved, "account": decision.account}
    return Posting(
        key=f"{exception_id}:{version}",
        merchant_id=asked.merchant.merchant_id,
        mode=asked.merchant.mode,
        audit=AuditDraft(
            actor=asked.merchant.actor, action="exception.resolved", object_id=exception_id, details=details
        ),
        facts=facts,
        records=(Record(kind=RecordKind.EXCEPTION, id=exception_id, version=version, document=document),),
        events=(EventDraft(type="exception.resolved", object_id=exception_id, version=version),),
        claim=asked.claim("exception", exception_id),
    )


def _settlement(asked: KeyedRequest, exception: Document, decision: Decision) -> Settlement | None:
    """Return the settlement that follows: the charge's own amount with the line's fee; the rest was dealt with."""
    if not exception.get("settles_charge") or decision.action == "accept":
        return None
    return Settlement(
        charge_id=exception["subject"],
        merchant_id=asked.merchant.merchant_id,
        mode=asked.merchant.mode,
        rail=exception["rail"],
        reference=exception["reference"],
        gross_minor=exception["expected"],
        currency=exception["currency"],
        rail_fee_minor=exception["rail_fee"] if abs(exception["rail_fee"]) <= exception["expected"] else None,
    )


def _closed() -> Problem:
    return Problem(409, "exception_already_resolved", "The exception is closed.")


def _refused(refusal: Refusal) -> Problem:
    return Problem(422, refusal.code.value, refusal.detail, param="account" if refusal.account else None)
