"""Routing from outside: why a charge went where it went, how the rails did, and what another policy would do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.instance import LedgerlineInstance
from tests.e2e.shop import Shop, assert_problem

ROOT = Path(__file__).resolve().parents[2]


def test_the_stored_plan_can_be_recomputed_term_by_term(shop: Shop) -> None:
    shop.send("PUT", "/v1/routing/policy", json={"exploration": 0.0})
    charge = shop.charge("tok_soft_then_approved").json()
    plan = shop.get(f"/charges/{charge['id']}/route")
    assert (plan["charge"], plan["amount"], plan["currency"]) == (charge["id"], 8420, "EUR")
    assert [rank["rail"] for rank in plan["route"]] == [option["rail"] for option in charge["route"]]
    for rank in plan["route"]:
        assert rank["utility"] == pytest.approx(sum(rank["terms"].values())) and rank["reason"]
        assert rank["terms"]["approval"] == pytest.approx(0.25 * rank["approval_probability"] * 8420)
        assert rank["terms"]["cost"] == pytest.approx(-rank["landed_cost"])
        assert rank["terms"]["speed"] == pytest.approx(-0.0001 * rank["settlement_seconds"])
    assert [rank["outcome"] for rank in plan["route"][:2]] == ["declined", "approved"]
    assert plan["route"][2]["outcome"] is None
    for nobody in ("ch_nobody", "ch_00000000000000000000000000", "x"):
        assert_problem(shop.send("GET", f"/v1/charges/{nobody}/route"), 404, "charge_not_found")


def test_performance_counts_what_was_decided(shop: Shop) -> None:
    for token in ("tok_visa_4291", "tok_visa_4291", "tok_declined_hard", "tok_soft_then_approved"):
        shop.charge(token)
    report = shop.get("/routing/performance", hours=1)
    rails = {row["rail"]: row for row in report["data"] if row["currency"] == "EUR"}
    alpha = rails["card_alpha"]
    assert alpha["approved"] >= 2 and alpha["declined_soft"] >= 1 and alpha["declined_otherwise"] >= 1
    decided = alpha["approved"] + alpha["declined_soft"]
    assert alpha["approval_rate"] == pytest.approx(alpha["approved"] / decided)
    low, high = alpha["approval_interval"]
    assert 0 <= low < alpha["approval_rate"] < high <= 1
    assert alpha["latency_ms"]["p50"] > 0 and alpha["cost_estimate_mean"] > 0
    shop.charge("tok_random_band")
    bands = {row["segment"] for row in shop.get("/routing/performance", hours=1, by="band")["data"]}
    assert "20 to 100" in bands
    assert_problem(shop.send("GET", "/v1/routing/performance?hours=0"), 422)
    assert_problem(shop.send("GET", "/v1/routing/performance?by=shoe_size"), 422)


def test_a_share_of_orders_to_explore_is_bounded(shop: Shop) -> None:
    assert_problem(shop.send("PUT", "/v1/routing/policy", json={"exploration": 0.5}), 422)
    changed = shop.send("PUT", "/v1/routing/policy", json={"exploration": 0.0, "exploration_loss_max": 0.01}).json()
    assert (changed["exploration"], changed["exploration_loss_max"]) == (0.0, 0.01)
    assert changed["weights"] == {"cost": 1.0, "approval": 0.25, "speed": 0.0001}


def test_backtest_of_a_changed_policy(shop: Shop, instance: LedgerlineInstance) -> None:
    shop.charge("tok_visa_4291")
    said = subprocess.run(
        [sys.executable, "cli.py", "routing", "backtest", "--cost", "1000", "--approval", "0"],
        cwd=ROOT,
        env={**os.environ, "LEDGERLINE_DATABASE_URL": instance.sandbox["database_url"], "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    default, changed = (line for line in said.stdout.splitlines() if "%" in line)
    assert "card_alpha" in default and "card_gamma" in changed
