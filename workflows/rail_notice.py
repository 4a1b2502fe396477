"""A rail's own notice about money it had answered for: applied once, or kept for a person.

The object's workflow ended with its final answer, perhaps days ago; this run writes the version after it.
"""

from dataclasses import dataclass
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.ledger import Posting, PostingResult, Record, RecordKind, RefusalCode
    from domain.notice import RailNotice
    from workflows import effects, notice_rules, policies
    from workflows.notice_rules import Ruling, Verdict
    from workflows.ports import ReadObject, StoredObject
    from workflows.postings import stored_posting
    from workflows.refund_fees import settle_refund_fee

Document = dict[str, Any]
KINDS = {"re": RecordKind.REFUND, "po": RecordKind.PAYOUT, "dp": RecordKind.DISPUTE}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRailNotice:
    """What starts the run: a signed notice, matched to an object."""

    notice: RailNotice


@workflow.defn(name="RailNoticeWorkflow")
class RailNoticeWorkflow:
    """One run per rail, kind of notice and reference, so that a notice delivered twice counts once."""

    @workflow.run
    async def run(self, start: StartRailNotice) -> Document:
        """Carry the notice to its end and return the object, or the exception it opened."""
        notice = start.notice
        kind = KINDS[notice.object_id.split("_", 1)[0]]
        for pause in policies.notice_pauses():
            stored = await effects.read_object(ReadObject(kind=kind, id=notice.object_id))
            ruling = notice_rules.rule_on(notice, stored.document, workflow.now())
            if ruling.verdict is Verdict.KNOWN:
                return await self._known(notice, kind, stored.document)
            if ruling.verdict is Verdict.CONTRADICTS:
                return await self._open_exception(notice, ruling)
            if ruling.verdict is Verdict.APPLY:
                applied = await self._apply(notice, kind, stored, ruling)
                if applied is not None:
                    return applied
            await workflow.sleep(pause)
        raise AssertionError("the pauses have no end")

    async def _known(self, notice: RailNotice, kind: RecordKind, document: Document) -> Document:
        """Return the object after its notice; of a refund, once the fee's part of it is settled too.

        Also where it was known already: a run that died after applying the notice still owes that part.
        """
        if kind is not RecordKind.REFUND:
            return document
        actor = f"rail:{notice.rail}"
        return await settle_refund_fee(document, merchant_id=notice.merchant_id, mode=notice.mode, actor=actor)

    async def _apply(
        self, notice: RailNotice, kind: RecordKind, stored: StoredObject, ruling: Ruling
    ) -> Document | None:
        """Commit the object's next version; None when somebody else wrote it first: it is read again."""
        result = await self._commit(notice, kind, stored, ruling)
        refusal = result.refusal
        if refusal is not None and refusal.code is RefusalCode.ACCOUNT_CLOSED:
            assert ruling.fact is not None
            detail = f"{notice.kind}: the account is closed, so the money is in suspense."
            exception = notice_rules.notice_exception(notice, "money_in_suspense", detail, workflow.now())
            suspended = Ruling(
                verdict=ruling.verdict,
                document=ruling.document,
                event=ruling.event,
                fact=notice_rules.to_suspense(ruling.fact),
            )
            result = await self._commit(notice, kind, stored, suspended, extra=(exception,))
            refusal = result.refusal
        if refusal is None:
            assert ruling.document is not None
            return await self._known(notice, kind, result.documents.get(notice.object_id, ruling.document))
        assert refusal.code is RefusalCode.EXISTS_WITH_DIFFERENT_FACTS, refusal
        return None

    async def _commit(
        self,
        notice: RailNotice,
        kind: RecordKind,
        stored: StoredObject,
        ruling: Ruling,
        extra: tuple[Record, ...] = (),
    ) -> PostingResult:
        assert ruling.document is not None and ruling.event is not None
        version = stored.version + 1
        record = Record(kind=kind, id=notice.object_id, version=version, document=ruling.document)
        return await effects.post(
            stored_posting(
                record,
                merchant_id=notice.merchant_id,
                mode=notice.mode,
                actor=f"rail:{notice.rail}",
                event=ruling.event,
                facts=(ruling.fact,) if ruling.fact is not None else (),
                extra=extra,
                details={"reference": notice.reference, "reason": notice.reason or ""},
            )
        )

    async def _open_exception(self, notice: RailNotice, ruling: Ruling) -> Document:
        detail = f"{notice.rail} says {notice.kind} ({notice.reference}), but {ruling.why}."
        record = notice_rules.notice_exception(notice, "contradicting_notice", detail, workflow.now())
        posting: Posting = stored_posting(
            record,
            merchant_id=notice.merchant_id,
            mode=notice.mode,
            actor=f"rail:{notice.rail}",
            event="exception.opened",
            details={"reference": notice.reference, "subject": notice.object_id},
        )
        result = await effects.post(posting)
        assert result.refusal is None, result.refusal
        return record.document
