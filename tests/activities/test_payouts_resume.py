"""What a payout's activities do when run again after a crash, and when there is no card to pay to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool
from temporalio.testing import ActivityEnvironment

from activities.assessment import AssessmentActivities
from activities.rails import RailActivities
from activities.routes import Router
from domain.identifiers import Mode, new_identifier
from domain.outcomes import OutcomeBoard
from domain.payout import Payout
from domain.rail import DeclineClass, Flow, Outcome, RailRequest, RouteOption
from ledger.posting import Poster
from rails.health import RailHealth
from rails.registry import build_rails
from tests.conftest import TestDatabase
from vault.custodian import FileCustodian
from vault.tokens import Vault
from workflows.ports import PlanPayout
from workflows.postings import payout_posting

NOBODY_LISTENS = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Parts:
    """The activities under test over a real database; no rail can be reached."""

    poster: Poster
    assessment: AssessmentActivities
    rails: RailActivities


@pytest.fixture
async def parts(database: TestDatabase, tmp_path: Path) -> AsyncIterator[Parts]:
    """Open them, and close them."""
    poster = Poster(database.app_url)
    await poster.start()
    rails, health = build_rails(sandbox_url=NOBODY_LISTENS), RailHealth()
    pool = AsyncConnectionPool(database.app_url, min_size=1, max_size=2, kwargs={"autocommit": True}, open=False)
    async with pool:
        router = Router(rails=rails, health=health, pool=pool)
        vault = Vault(poster, pool, FileCustodian(tmp_path / "keys.json"))
        yield Parts(
            poster,
            AssessmentActivities(pool=pool, book=poster, board=OutcomeBoard(), model=None, router=router),
            RailActivities(rails=rails, health=health, vault=vault, pool=pool),
        )
    await rails.aclose()
    await poster.stop()


def a_payout(**changes: object) -> Payout:
    terms: dict[str, object] = {
        "id": new_identifier("po"),
        "merchant_id": "mer_a",
        "mode": Mode.TEST,
        "amount_minor": 1000,
        "currency": "EUR",
        "source": "acct_a",
        "destination": {"type": "iban"},
        "workflow_id": "w",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Payout(**(terms | changes))  # type: ignore[arg-type]


async def test_a_committed_payout_keeps_its_plan_however_the_rails_rank_now(parts: Parts) -> None:
    payout = a_payout()
    fresh = await parts.assessment.plan_payout(PlanPayout(payout=payout))
    assert [option.rail for option in fresh.options] == ["bank_instant", "payout_batch"]
    option = RouteOption(
        rail="ranked_first_then", utility=1.5, landed_cost_minor=2.0, approval_probability=0.5, settlement_seconds=1.0
    )
    committed = a_payout(id=payout.id, route=(option,), rail=option.rail, version=1)
    assert (await parts.poster.post(payout_posting(committed))).refusal is None
    again = await parts.assessment.plan_payout(PlanPayout(payout=payout))
    assert again.options == (option,)


async def test_a_payout_refused_for_want_of_rails_stays_without(parts: Parts) -> None:
    payout = a_payout()
    assert (await parts.poster.post(payout_posting(a_payout(id=payout.id, version=1)))).refusal is None
    assert (await parts.assessment.plan_payout(PlanPayout(payout=payout))).options == ()


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_card_that_is_not_in_the_vault_is_a_definite_no(parts: Parts, resumed: bool) -> None:
    request = RailRequest(
        rail="payout_batch",
        flow=Flow.PAYOUT,
        rail_key="po_1:1",
        amount_minor=1000,
        currency="EUR",
        merchant_id="mer_a",
        mode="test",
        destination={"type": "card", "token": "tok_nobody"},
        resumed=resumed,
    )
    answer = await ActivityEnvironment().run(parts.rails.attempt, request)
    assert (answer.outcome, answer.decline_class) == (Outcome.DECLINED, DeclineClass.DATA_FIX)
    assert answer.decline_code == "token_not_found"
