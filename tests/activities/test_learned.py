"""What the books teach routing, against a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from psycopg_pool import AsyncConnectionPool

from activities.learned import cost_factors, decayed_counts
from domain.identifiers import Mode, new_identifier
from domain.ledger import AuditDraft, Posting
from domain.rail import Attempt, DeclineClass, Flow, Outcome
from ledger.posting import Poster
from rails.approval_odds import Segment
from tests.conftest import TestDatabase
from workflows.postings import attempt_record

VISA = {"brand": "visa", "country": "DE", "band": "20 to 100"}


@pytest.fixture
async def pool(database: TestDatabase) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(database.app_url, min_size=1, max_size=2, open=False) as opened:
        yield opened


def attempt(outcome: Outcome, *, number: int = 1, **facts: object) -> Attempt:
    operation = new_identifier("ch")
    terms: dict[str, object] = {
        "rail_key": f"{operation}:{number}",
        "operation_id": operation,
        "rail": "alpha",
        "flow": Flow.AUTHORIZE,
        "amount_minor": 8420,
        "currency": "EUR",
        "cost_estimate_minor": 85,
        "requested_at": datetime.now(UTC),
        "segment": VISA,
    }
    return Attempt(number=number, outcome=outcome, **(terms | facts))  # type: ignore[arg-type]


async def commit(database: TestDatabase, *attempts: Attempt) -> None:
    poster = Poster(database.app_url)
    await poster.start()
    for one in attempts:
        posting = Posting(
            key=f"{one.rail_key}:test",
            merchant_id="mer_a",
            mode=Mode.LIVE,
            audit=AuditDraft(actor="test", action="attempt.made", object_id=one.operation_id),
            records=(attempt_record(one),),
        )
        assert (await poster.post(posting)).refusal is None
    await poster.stop()


async def test_outcomes_by_rail_segment_and_whether_another_rail_came_first(
    database: TestDatabase, pool: AsyncConnectionPool
) -> None:
    soft = {"decline_code": "do_not_honor", "decline_class": DeclineClass.SOFT}
    hard = {"decline_code": "lost_card", "decline_class": DeclineClass.HARD}
    await commit(
        database,
        attempt(Outcome.APPROVED),
        attempt(Outcome.APPROVED),
        attempt(Outcome.DECLINED, **soft),
        attempt(Outcome.DECLINED, number=2, **soft),
        attempt(Outcome.DECLINED, **hard),
        attempt(Outcome.UNKNOWN),
        attempt(Outcome.APPROVED, segment=None),
    )
    counted = {one.segment: (one.approved, one.declined_soft) for one in await decayed_counts(pool, Flow.AUTHORIZE)}
    first = Segment(**VISA)
    assert set(counted) == {first, Segment(**VISA, retry=True)}
    assert counted[first] == (pytest.approx(2, abs=0.01), pytest.approx(1, abs=0.01))
    assert counted[Segment(**VISA, retry=True)] == (0, pytest.approx(1, abs=0.01))
    assert await decayed_counts(pool, Flow.PAYOUT) == []


async def test_what_a_rail_charged_corrects_its_price_list(database: TestDatabase, pool: AsyncConnectionPool) -> None:
    await commit(database, attempt(Outcome.APPROVED), attempt(Outcome.APPROVED, cost_minor=170))
    assert await cost_factors(pool) == {("alpha", "EUR"): pytest.approx(1 + 1 / 51)}
