"""The one entry for settlements of charges: captured becomes settled, the rail's cost and the true-up post.

Reconciliation starts it for each settled line it matched, the rails' inbox for each notice; a line given
twice counts once. What does not fit the charge opens an exception and moves nothing.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.facts import Fact, FeeTrueUp
    from domain.identifiers import encode_base32
    from domain.ledger import PostingResult, Record, RecordKind, RefusalCode
    from domain.settlement import Settlement
    from domain.timestamps import rfc3339
    from workflows import effects, policies
    from workflows.ports import ReadObject, StoredObject
    from workflows.postings import stored_posting
    from workflows.settlement_rules import SettlementRuling, SettlementVerdict, rule_on_settlement

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleCharge:
    """What starts the run: one settled line, matched to a charge."""

    settlement: Settlement


@workflow.defn(name="ChargeSettlementWorkflow")
class ChargeSettlementWorkflow:
    """One run per rail and line; writes the version of the charge after its workflow's last."""

    @workflow.run
    async def run(self, start: SettleCharge) -> Document:
        """Apply the settlement and return the charge, or the exception it opened."""
        settlement = start.settlement
        for pause in policies.notice_pauses():
            stored = await effects.read_object(ReadObject(kind=RecordKind.CHARGE, id=settlement.charge_id))
            ruling = rule_on_settlement(settlement, stored.document, workflow.now())
            if ruling.verdict is SettlementVerdict.KNOWN:
                return stored.document
            if ruling.verdict is SettlementVerdict.CONTRADICTS:
                return await self._open_exception(settlement, ruling)
            if ruling.verdict is SettlementVerdict.APPLY and await self._apply(settlement, stored, ruling):
                assert ruling.document is not None
                return ruling.document
            await workflow.sleep(pause)
        raise AssertionError("the pauses have no end")

    async def _apply(self, settlement: Settlement, stored: StoredObject, ruling: SettlementRuling) -> bool:
        """Commit the charge's next version; False when somebody else wrote it first: it is read again."""
        result = await self._commit(settlement, stored, ruling, ruling.facts)
        if result.refusal is not None and result.refusal.code is RefusalCode.ACCOUNT_CLOSED:
            suspended = tuple(
                replace(fact, to_suspense=True) if isinstance(fact, FeeTrueUp) else fact for fact in ruling.facts
            )
            result = await self._commit(settlement, stored, ruling, suspended)
        assert result.refusal is None or result.refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, result.refusal
        return result.refusal is None

    async def _commit(
        self, settlement: Settlement, stored: StoredObject, ruling: SettlementRuling, facts: tuple[Fact, ...]
    ) -> PostingResult:
        assert ruling.document is not None
        record = Record(
            kind=RecordKind.CHARGE, id=settlement.charge_id, version=stored.version + 1, document=ruling.document
        )
        return await effects.post(
            stored_posting(
                record,
                merchant_id=settlement.merchant_id,
                mode=settlement.mode,
                actor=f"rail:{settlement.rail}",
                event=ruling.event,
                facts=facts,
                details={"settlement": settlement.reference},
            )
        )

    async def _open_exception(self, settlement: Settlement, ruling: SettlementRuling) -> Document:
        record = _exception(settlement, ruling.why, rfc3339(workflow.now()))
        result = await effects.post(
            stored_posting(
                record,
                merchant_id=settlement.merchant_id,
                mode=settlement.mode,
                actor=f"rail:{settlement.rail}",
                event="exception.opened",
                details={"settlement": settlement.reference, "subject": settlement.charge_id},
            )
        )
        assert result.refusal is None, result.refusal
        return record.document


def _exception(settlement: Settlement, why: str, since: str | None) -> Record:
    name = f"{settlement.rail}/{settlement.reference}/{settlement.charge_id}"
    exception_id = f"exc_{encode_base32(int.from_bytes(sha256(name.encode()).digest()[:16], 'big'), 26)}"
    document: Document = {
        "id": exception_id,
        "object": "exception",
        "kind": "settlement_differs",
        "status": "open",
        "subject": settlement.charge_id,
        "rail": settlement.rail,
        "reference": settlement.reference,
        "amount": settlement.gross_minor,
        "currency": settlement.currency,
        "detail": f"{settlement.rail} settles {settlement.gross_minor} {settlement.currency}, but {why}.",
        "since": since,
    }
    return Record(kind=RecordKind.EXCEPTION, id=exception_id, version=1, document=document)
