"""Disputes as they stand, and the merchant's evidence about them."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from api import schemas
from api.authentication import Caller, MerchantCaller
from api.bodies import WriteRequest, refuse_card_numbers
from api.context import CoreOf
from api.errors import Problem
from api.idempotency import read_write
from api.objects import After, Limit, OfCharge, Status, list_objects, read_object
from api.rendering import json_answer, list_answer, ordered
from api.updating import ObjectUpdate, update_object
from workflows.dispute import DisputeWorkflow
from workflows.dispute_messages import SubmitEvidence

router = APIRouter(prefix="/v1", tags=["disputes"])

EVIDENCE_CHARACTERS_MAX = 40_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


class EvidenceDetails(schemas.Shown):
    """Until when evidence is taken, and when it was handed to the rail."""

    due_by: str | None
    submitted_at: str | None
    past_due: bool


class Dispute(schemas.Shown):
    """A cardholder's complaint: an inquiry asks, a chargeback has taken the money."""

    id: str
    object: Literal["dispute"]
    status: Literal[
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
        "needs_response",
        "under_review",
        "won",
        "lost",
    ]
    charge: str
    amount: int
    fee: int
    currency: str
    account: str
    rail: str
    reason: str | None
    created_at: str


def _check_evidence(evidence: dict[str, str]) -> dict[str, str]:
    if not evidence or sum(map(len, evidence.values())) > EVIDENCE_CHARACTERS_MAX:
        raise PydanticCustomError(
            "evidence_size_invalid",
            "Evidence says something, in at most {most} characters.",
            {"most": EVIDENCE_CHARACTERS_MAX},
        )
    if not all(_NAME.fullmatch(name) for name in evidence):
        raise PydanticCustomError("evidence_name_invalid", "Names of evidence are lower-case words: `receipt`.")
    for text in evidence.values():
        refuse_card_numbers(text)
    return evidence


Evidence = Annotated[
    dict[str, Annotated[str, Field(min_length=1, max_length=20_000)]],
    AfterValidator(_check_evidence),
    Field(max_length=30, description="Texts by name, for instance `shipping_tracking_number` or `uncategorized_text`."),
]


class EvidenceRequest(WriteRequest):
    """The merchant's side: texts by name. Without `submit` they are kept as a draft and may be added to."""

    evidence: Evidence
    submit: bool = True


@router.post(
    "/disputes/{dispute_id}/evidence", responses=schemas.change(Dispute), openapi_extra=schemas.body(EvidenceRequest)
)
async def submit_evidence(dispute_id: str, request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Keep evidence, and hand it to the rail once. 409 after the deadline or when the bank has it already."""
    asked, wanted = await read_write(request, merchant, EvidenceRequest)
    dispute = await read_object(core.reads, merchant.scope, "dispute", dispute_id)
    if not core.rail_can(dispute["rail"], "evidence"):
        detail = f"{dispute['rail']} takes evidence in its own portal only."
        raise Problem(409, "rail_takes_no_evidence", detail, members={"dispute": ordered(dispute)})
    argument = SubmitEvidence(
        evidence=wanted.evidence,
        submit=wanted.submit,
        claim=asked.claim("dispute", dispute_id),
        actor=merchant.actor,
    )
    return await update_object(
        core,
        ObjectUpdate(
            kind="dispute",
            object_id=dispute_id,
            verb="evidence",
            method=DisputeWorkflow.submit_evidence,
            argument=argument,
            asked=asked,
        ),
    )


@router.get("/disputes/{dispute_id}", responses=schemas.reading(Dispute))
async def get_dispute(dispute_id: str, principal: Caller, core: CoreOf) -> Response:
    """Return a dispute."""
    return json_answer(await read_object(core.reads, principal.scope, "dispute", dispute_id))


@router.get("/disputes", responses=schemas.listing(Dispute))
async def list_disputes(
    principal: Caller,
    core: CoreOf,
    limit: Limit = 10,
    starting_after: After = None,
    charge: OfCharge = None,
    status: Status = None,
) -> Response:
    """Return disputes, newest first."""
    filters = {"charge": charge, "status": status}
    documents, more = await list_objects(
        core.reads, principal.scope, "dispute", limit=limit, starting_after=starting_after, filters=filters
    )
    return list_answer(documents, more)
