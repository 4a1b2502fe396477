"""What delivery of webhooks decides without looking anywhere: when to try again, and when to give up.

Standard library only; `events/` sends and remembers, `workflows/webhook_delivery.py` waits.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from domain.identifiers import Mode
from domain.ledger import AuditDraft, EventDraft, KeyClaim, Posting, Record, RecordKind

ALL_TYPES = "*"
"""The filter that lets every type of event pass."""

RESPONSE_SECONDS_MAX = 15.0
"""How long an endpoint may take for its whole answer before the attempt counts as failed."""

TOLERANCE_SECONDS = 300
"""How far a signature's timestamp may be off, both ways."""

RETRY_AFTER_SECONDS_MAX = 86_400.0
"""The longest an endpoint's Retry-After is followed; longer ones are followed this far."""

RETRY_DELAYS_SECONDS: dict[Mode, tuple[float, ...]] = {
    # 3.2 days in all, as the Standard Webhooks specification suggests: a long weekend's outage loses nothing.
    Mode.LIVE: (1, 5, 30, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
    # As long in all, but impatient at first: a sandbox's receiver is a developer's process being restarted.
    Mode.TEST: (0.02, 0.05, 0.1, 0.3, 1, 3, 10, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
}
"""Pauses before each further attempt. After the last one fails the delivery is dead."""

QUICK_RETRY_SECONDS_MAX = 1.0
"""Pauses up to this are waited for where the request was sent; longer ones leave the worker free for others."""

JITTER = 0.2
"""Pauses vary by this share either way, so that what failed together does not come back together."""


class EndpointStatus(StrEnum):
    """Only an enabled endpoint is sent to. A deleted one stays listed nowhere, for the audit's sake stored."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"


class Ordering(StrEnum):
    """STRICT: one at a time in sequence, and a failing event holds the later ones back. PARALLEL: as they come."""

    STRICT = "strict"
    PARALLEL = "parallel"


class DeliveryStatus(StrEnum):
    """PENDING is tried again by itself; DEAD only when somebody asks for it (the dead-letter list)."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverTo:
    """Whose events a run of the delivery workflow sends."""

    endpoint_id: str
    merchant_id: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What one round of delivery came to.

    `ended`: the endpoint is disabled or deleted. Otherwise the next round is due when the endpoint is
    woken, and at the latest after `wait_seconds` (None: nothing waits to be tried again).
    """

    sent: int
    succeeded: int
    sequence: int
    ended: bool = False
    wait_seconds: float | None = None


def retry_pause_seconds(mode: Mode, failures: int, *, chance: float, retry_after: float | None = None) -> float | None:
    """Return how long to wait after the `failures`-th failure in a row; None when it was the last one.

    `chance` is uniform in [0, 1). With JITTER 0.2 a pause of 30 s becomes 24 s to 36 s. `retry_after`
    (seconds, as the endpoint asked) only ever makes it longer.
    """
    assert failures > 0
    delays = RETRY_DELAYS_SECONDS[mode]
    if failures > len(delays):
        return None
    pause = delays[failures - 1] * (1 - JITTER + 2 * JITTER * chance)
    return max(pause, min(retry_after or 0.0, RETRY_AFTER_SECONDS_MAX))


def type_patterns(event_types: tuple[str, ...] | list[str]) -> list[str] | None:
    """Return the SQL LIKE patterns of a filter, None for all: `charge.*` is `charge.%`."""
    if not event_types or ALL_TYPES in event_types:
        return None
    return [one.replace("_", "\\_").replace("*", "%") for one in event_types]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """An endpoint's next version. `document` is what the API shows; `internal` what is sealed, None: as it is.

    `verb` names the event and the audit record: `created`, `updated`, `secret_rotated`, `disabled`, `deleted`.
    """

    document: dict[str, Any]
    version: int
    verb: str
    merchant_id: str
    actor: str
    internal: dict[str, Any] | None = None
    claim: KeyClaim | None = None

    def posting(self) -> Posting:
        """Return the posting that commits it, with its event and audit record. Idempotent on (endpoint, version)."""
        endpoint_id, action = self.document["id"], f"webhook_endpoint.{self.verb}"
        record = Record(
            kind=RecordKind.WEBHOOK_ENDPOINT,
            id=endpoint_id,
            version=self.version,
            document=self.document,
            internal=self.internal or {},
            create_only=self.version == 1,
        )
        return Posting(
            key=f"{endpoint_id}:{self.version}",
            merchant_id=self.merchant_id,
            mode=Mode.LIVE if self.document["livemode"] else Mode.TEST,
            audit=AuditDraft(
                actor=self.actor, action=action, object_id=endpoint_id, details={"url": self.document["url"]}
            ),
            records=(record,),
            events=(EventDraft(type=action, object_id=endpoint_id, version=self.version),),
            claim=self.claim,
        )
