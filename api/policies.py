"""A merchant's policies as stored documents: the current one, and the next version of it."""

from collections.abc import Mapping
from typing import Any

from api.authentication import Merchant
from api.context import Core
from api.errors import Problem
from api.reading import ReadScope, Statement
from domain.ledger import AuditDraft, EventDraft, Posting, Record, RecordKind

ROUNDS_MAX = 5
_READ = (
    "SELECT document, version FROM policies WHERE merchant_id = %(merchant_id)s AND mode = %(mode)s AND kind = %(kind)s"
)


async def read_policy(core: Core, merchant: Merchant, kind: str) -> tuple[dict[str, Any] | None, int]:
    """Return the stored policy and its version; None and 0 for a merchant who has set none."""
    scope: ReadScope = merchant.scope
    row = await core.reads.first(scope, policy_statement(merchant, kind))
    return (row["document"], row["version"]) if row else (None, 0)


def policy_statement(merchant: Merchant, kind: str) -> Statement:
    """Return the look-up of a stored policy, to be sent along with other reads."""
    return Statement(_READ, {"merchant_id": merchant.merchant_id, "mode": merchant.mode.value, "kind": kind})


async def write_policy(core: Core, merchant: Merchant, kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Commit the policy's next version with its event and audit record, and return it.

    Writers take turns: whoever finds the next version taken goes on after it, so the last one wins.

    Raises:
        Problem: 409, others kept winning. Retryable.
        ConnectionError: the database is away. Retryable.
    """
    policy_id = f"{merchant.merchant_id}/{merchant.mode}/{kind}"
    wanted = {"object": f"{kind}_policy", **document}
    for _ in range(ROUNDS_MAX):
        stored, version = await read_policy(core, merchant, kind)
        if stored == wanted:
            return wanted
        version += 1
        result = await core.services.book.post(
            Posting(
                key=f"{policy_id}:{version}",
                merchant_id=merchant.merchant_id,
                mode=merchant.mode,
                audit=AuditDraft(
                    actor=merchant.actor, action=f"{kind}_policy.updated", object_id=policy_id, details=dict(wanted)
                ),
                records=(Record(kind=RecordKind.POLICY, id=policy_id, version=version, document=wanted),),
                events=(EventDraft(type=f"{kind}_policy.updated", object_id=policy_id, version=version),),
            )
        )
        if result.refusal is None and not result.duplicate:
            return wanted
    raise Problem(409, "policy_in_use", "Others are changing this policy at the same time. Try again.")
