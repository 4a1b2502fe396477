"""The watermark over HTTP, and what is said of instants that left the book."""

from datetime import UTC, datetime, timedelta

import psycopg

from domain.timestamps import rfc3339
from tests.api.conftest import Shop
from tests.api.problems import assert_problem
from tests.conftest import TestDatabase


def instant(at: datetime) -> str:
    """An instant as the API takes it."""
    return rfc3339(at)


async def test_the_watermark_is_never_before_the_answer(shop: Shop) -> None:
    assert (await shop.post("/accounts", {"currency": "EUR", "id": "acct_mark"})).status_code == 201
    quiet = instant(datetime.now(UTC))
    tomorrow = instant(datetime.now(UTC) + timedelta(days=1))
    path = "/accounts/acct_mark/balance"
    now, then, later = [await shop.send("GET", path, params=asked) for asked in ({}, {"at": quiet}, {"at": tomorrow})]
    assert all(answer.json()["at"] <= answer.headers["Ledger-Watermark"] for answer in (now, then, later))
    assert then.json()["at"] == quiet
    assert later.json()["at"] < instant(datetime.now(UTC) + timedelta(hours=1))
    page = await shop.send("GET", "/accounts/acct_mark/statement", params={"from": "2026-01-01T00:00:00Z"})
    assert page.json()["closing"]["at"] <= page.headers["Ledger-Watermark"]


async def test_an_archived_instant_is_gone(database: TestDatabase, shop: Shop) -> None:
    assert (await shop.post("/accounts", {"currency": "EUR", "id": "acct_old"})).status_code == 201
    end = datetime.now(UTC) - timedelta(days=400)
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        # As after an archive: a period that ended long before anything here was recorded.
        admin.execute(
            "INSERT INTO ledger_periods VALUES (%s, %s, now()) ON CONFLICT DO NOTHING", (end, end - timedelta(days=1))
        )
        path = "/accounts/acct_old/balance"
        before = await shop.send("GET", path, params={"at": instant(end - timedelta(seconds=1))})
        problem = assert_problem(before, 410, "instant_archived", "at")
        assert "the book begins at" in problem["detail"]
        assert (await shop.get(path, at=instant(end)))["posted"] == 0
        admin.execute("DELETE FROM ledger_periods WHERE upper_at = %s", (end,))
