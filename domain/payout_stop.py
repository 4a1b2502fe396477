"""A stop of payouts in one currency: what the books are found wrong in is not paid out until a person says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.ledger import AuditDraft, KeyClaim, Posting, Record, RecordKind
from domain.timestamps import rfc3339

ALL_CURRENCIES = "ALL"
"""The currency of a stop that is about money of which no currency is known: it stops every payout."""

PLATFORM = "ledgerline"
"""The merchant id of what belongs to the installation itself."""

PAYOUTS_STOPPED = "payouts_stopped"
"""The code of every refusal, answer and wait that a stop causes."""

VIOLATIONS_NAMED = 20
"""A stop names so many violations; the rest is in the report."""


class StopStatus(StrEnum):
    """A stop is active until a person lifts it; after the next violation it is active again."""

    ACTIVE = "active"
    LIFTED = "lifted"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutStop:
    """One currency's stop. `version` rises by one with each stop and each lifting.

    `violations` are those that caused it, as reported: kind, account, entry, detail.
    """

    currency: str
    version: int
    status: StopStatus
    since: datetime
    violations: tuple[Mapping[str, Any], ...]
    lifted_at: datetime | None = None
    lifted_by: str | None = None
    note: str | None = None

    @property
    def id(self) -> str:
        """The stop's id: one for each currency, for ever."""
        return stop_id(self.currency)

    @property
    def exception_id(self) -> str:
        """The id of the exception a person works on; one for each time payouts were stopped."""
        number = self.version if self.status is StopStatus.ACTIVE else self.version - 1
        return f"exc_books_{self.currency.lower()}_{number}"


def stop_id(currency: str) -> str:
    """Return the id of a currency's stop."""
    return f"stop_{currency.lower()}"


def stop_document(stop: PayoutStop) -> dict[str, Any]:
    """Return the stop as the API shows it."""
    return {
        "id": stop.id,
        "object": "payout_stop",
        "currency": stop.currency,
        "status": stop.status.value,
        "since": rfc3339(stop.since),
        "violations": [dict(one) for one in stop.violations],
        "exception": stop.exception_id,
        "lifted_at": rfc3339(stop.lifted_at),
        "lifted_by": stop.lifted_by,
        "note": stop.note,
    }


def stop_posting(stop: PayoutStop, *, actor: str, claim: KeyClaim | None = None) -> Posting:
    """Return the commit of a stop's new version with its exception and its audit record.

    Idempotent on (currency, version): stopping twice, or lifting twice, is done once.
    """
    stopped = stop.status is StopStatus.ACTIVE
    action = "payouts.stopped" if stopped else "payouts.resumed"
    details: dict[str, Any] = {"version": stop.version, "currency": stop.currency}
    if not stopped:
        details |= {"note": stop.note}
    return Posting(
        key=f"{stop.id}:{stop.version}",
        merchant_id=PLATFORM,
        mode=Mode.LIVE,
        audit=AuditDraft(actor=actor, action=action, object_id=stop.id, details=details),
        records=(
            Record(kind=RecordKind.PAYOUT_STOP, id=stop.id, version=stop.version, document=stop_document(stop)),
            _exception(stop),
        ),
        claim=claim,
    )


def _exception(stop: PayoutStop) -> Record:
    first = stop.violations[0] if stop.violations else {}
    document = {
        "id": stop.exception_id,
        "object": "exception",
        "kind": "ledger_invariant",
        "status": "open" if stop.status is StopStatus.ACTIVE else "resolved",
        "subject": stop.id,
        "rail": None,
        "rail_key": None,
        "detail": f"The books are not in order in {stop.currency}; payouts are stopped. First violation: "
        f"{first.get('kind')} at account {first.get('account')}, entry {first.get('entry')}: {first.get('detail')}.",
        "since": rfc3339(stop.since),
        "violations": [dict(one) for one in stop.violations],
        "note": stop.note,
    }
    version = 1 if stop.status is StopStatus.ACTIVE else 2
    return Record(kind=RecordKind.EXCEPTION, id=stop.exception_id, version=version, document=document)
