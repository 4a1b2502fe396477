"""The merchant's risk policy, and the score a charge would get."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api import schemas
from api.authentication import MerchantCaller
from api.bodies import Amount, CardToken, Currency, FreeText, Metadata, read_body, validate
from api.context import CoreOf
from api.errors import Problem
from api.policies import read_policy, write_policy
from api.rendering import Document, json_answer
from api.services import ScoreRequest
from domain.risk import RiskPolicy

router = APIRouter(prefix="/v1/risk", tags=["risk"])

Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class RiskPolicyBody(BaseModel):
    """What to change; what is left out stays as it is. Thresholds are half-open: `block_at` blocks."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    step_up_at: Threshold | None = None
    block_at: Threshold | None = None
    on_model_outage: Literal["allow", "step_up", "block"] | None = None


class ScoreBody(BaseModel):
    """A charge that is not made."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    amount: Amount
    currency: Currency
    source: CardToken
    customer: FreeText | None = None
    metadata: Metadata = Field(default_factory=dict)


class RiskPolicyShown(schemas.Shown):
    """How the merchant's charges are judged."""

    object: Literal["risk_policy"]
    step_up_at: float
    block_at: float
    on_model_outage: Literal["allow", "step_up", "block"]


class RiskAssessmentShown(schemas.RiskShown):
    """What risk would say, and the thresholds it would say it by."""

    object: Literal["risk_assessment"]
    step_up_at: float
    block_at: float


@router.get("/policy", responses=schemas.reading(RiskPolicyShown))
async def get_risk_policy(merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return the policy in effect."""
    stored, _ = await read_policy(core, merchant, "risk")
    return json_answer(stored or {"object": "risk_policy", **default_risk_policy()})


@router.put(
    "/policy",
    responses={**schemas.writing(RiskPolicyShown), **schemas.problems(409)},
    openapi_extra=schemas.body(RiskPolicyBody),
)
async def put_risk_policy(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Change the policy; it holds for every charge assessed from now on."""
    wanted = validate(RiskPolicyBody, await read_body(request))
    stored, _ = await read_policy(core, merchant, "risk")
    document = {**default_risk_policy(), **(stored or {}), **wanted.model_dump(exclude_none=True)}
    document.pop("object", None)
    if document["step_up_at"] > document["block_at"]:
        detail = "`step_up_at` may not be above `block_at`."
        raise Problem(422, "thresholds_out_of_order", detail, param="step_up_at")
    return json_answer(await write_policy(core, merchant, "risk", document))


def default_risk_policy() -> Document:
    """Return what holds for a merchant who has set nothing."""
    default = RiskPolicy()
    return {
        "step_up_at": default.step_up_at,
        "block_at": default.block_at,
        "on_model_outage": default.on_model_outage.value,
    }


@router.post("/score", responses=schemas.writing(RiskAssessmentShown), openapi_extra=schemas.body(ScoreBody))
async def score_charge(request: Request, merchant: MerchantCaller, core: CoreOf) -> Response:
    """Return what risk would say to a charge now. Makes nothing."""
    wanted = validate(ScoreBody, await read_body(request))
    assessment = await core.services.score(
        ScoreRequest(
            merchant_id=merchant.merchant_id,
            mode=merchant.mode,
            amount_minor=wanted.amount,
            currency=wanted.currency,
            source=wanted.source,
            customer=wanted.customer,
            metadata=wanted.metadata,
        )
    )
    return json_answer(
        {
            "object": "risk_assessment",
            "score": assessment.score,
            "decision": assessment.decision.value,
            "model_version": assessment.model_version,
            "reasons": list(assessment.reasons),
            "step_up_at": assessment.step_up_at,
            "block_at": assessment.block_at,
        }
    )
