"""The one writer of a charge: commits its versions, claims keys with them, keeps the Temporal UI in step."""

import asyncio
from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.charge import Charge, ChargeStatus
    from domain.facts import Fact
    from domain.ledger import KeyClaim, Record, Refusal, RefusalCode
    from domain.rail import Attempt, DeclineClass, RailRequest, trail_with
    from domain.timestamps import rfc3339
    from workflows import charge_states, search_attributes
    from workflows.committing import commit_next_version
    from workflows.inquiry import Finding, InquiryProgress
    from workflows.ports import AssessedCharge
    from workflows.postings import charge_posting, unknown_outcome_exception
    from workflows.rail_notices import RailMailbox


class ChargeWriter:
    """A charge under way: its state as last committed, what rails told about it, and the turn that updates
    take on it.
    """

    def __init__(self, charge: Charge, *, actor: str) -> None:
        self.charge = charge
        self.terms = AssessedCharge(charge=charge)
        self.lock = asyncio.Lock()
        self.mailbox = RailMailbox()
        self.finding: Finding | None = None
        self._actor = actor
        self._exception: Record | None = None

    def assessed(self, terms: AssessedCharge) -> None:
        """Take over what the assessment committed."""
        self.terms, self.charge = terms, terms.charge

    def order(self, attempt: Attempt, *, resumed: bool) -> RailRequest:
        """Return the order that a capture or void of this charge gives to its rail."""
        return charge_states.rail_request(self.charge, attempt, resumed=resumed)

    async def claim(
        self, charge: Charge, claim: KeyClaim | None, *, actor: str, attempts: tuple[Attempt, ...] = ()
    ) -> tuple[bool, bool]:
        """Commit the start of an update with its key.

        Returns whether the key belongs to something else, and whether an earlier run had committed this.
        """
        refusal, duplicate = await self._post(charge, claim=claim, actor=actor, attempts=attempts)
        assert refusal is None or refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN, refusal
        return refusal is not None, duplicate

    async def commit(
        self,
        charge: Charge,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        extra: tuple[Record, ...] = (),
    ) -> bool:
        """Commit the charge's next version; True if an earlier run of this step had done so.

        An exception that people were asked to look at is resolved with the commit that ends the waiting.
        """
        if self._exception is not None and not charge_states.awaits_rail(charge):
            closed = replace(self._exception, version=2, document={**self._exception.document, "status": "resolved"})
            extra, self._exception = (*extra, closed), None
        refusal, duplicate = await self._post(charge, event=event, facts=facts, attempts=attempts, extra=extra)
        assert refusal is None, refusal
        return duplicate

    async def decline(self, code: str, decline_class: DeclineClass) -> None:
        """Commit the charge's end without money."""
        charge = replace(
            charge_states.without_waiting(self.charge),
            status=ChargeStatus.DECLINED,
            decline_code=code,
            decline_class=decline_class,
        )
        await self.commit(charge, event="charge.declined", attempts=charge.attempts[-1:])

    async def report_unknown(self, progress: InquiryProgress, attempt: Attempt) -> None:
        """Show the charge as unknown, with what was asked so far and when the rail is asked next."""
        charge = charge_states.with_attempt(self.charge, attempt)
        first = charge.status is not ChargeStatus.UNKNOWN
        charge = replace(
            charge,
            status=ChargeStatus.UNKNOWN,
            rail=attempt.rail,
            next_check_at=progress.next_check_at,
            inquiries=trail_with(charge.inquiries, attempt),
        )
        await self.commit(
            charge,
            event="charge.unknown" if first else None,
            attempts=(attempt,) if first else (),
            extra=self.raise_exception(attempt) if progress.exhausted else (),
        )

    def raise_exception(self, attempt: Attempt) -> tuple[Record, ...]:
        """Return the exception that a person must look at, for the next commit; nothing if it is open already."""
        if self._exception is not None:
            return ()
        self._exception = unknown_outcome_exception(
            self.charge.id,
            rail=attempt.rail,
            rail_key=attempt.rail_key,
            since=rfc3339(attempt.requested_at),
            status="open",
        )
        return (self._exception,)

    async def _post(
        self,
        charge: Charge,
        *,
        event: str | None = None,
        facts: tuple[Fact, ...] = (),
        attempts: tuple[Attempt, ...] = (),
        extra: tuple[Record, ...] = (),
        claim: KeyClaim | None = None,
        actor: str | None = None,
    ) -> tuple[Refusal | None, bool]:
        charge = replace(charge, inquiries=trail_with(charge.inquiries, *attempts))
        version, result = await commit_next_version(
            lambda version: charge_posting(
                replace(charge, version=version),
                event=event,
                facts=facts,
                attempts=attempts,
                extra=extra,
                claim=claim,
                actor=actor or self._actor,
            ),
            object_id=charge.id,
            version=self.charge.version,
            open_statuses=charge_states.OPEN_STATUSES,
        )
        if result.refusal is None:
            self.charge = replace(charge, version=version)
            self._show()
        return result.refusal, result.duplicate

    def _show(self) -> None:
        """Keep the Temporal UI's list and detail page in step with the charge."""
        charge = self.charge
        if charge.status is ChargeStatus.PROCESSING:
            return
        shown = [search_attributes.STATUS.value_set(charge.status.value)]
        if charge.rail is not None:
            shown.append(search_attributes.RAIL.value_set(charge.rail))
        if charge.risk is not None:
            shown.append(search_attributes.RISK_DECISION.value_set(charge.risk.decision.value))
        workflow.upsert_search_attributes(shown)
        workflow.set_current_details(charge_states.describe(charge))
