"""Scheme limits, authorization windows and authentication data, on everything real."""

from datetime import datetime, timedelta

from tests.api.conftest import Shop
from tests.api.problems import assert_problem
from tests.api.test_life_of_money import CARD

SOFT_VISA = {"number": "4000000000009995", "exp_month": 12, "exp_year": 2031}


async def test_rule_11_a_card_is_not_tried_beyond_its_schemes_limit(real_shop: Shop) -> None:
    """Visa: 20 declines in 30 days, over all rails. Three attempts a charge until the 20th."""
    token = (await real_shop.post("/tokens", {"card": SOFT_VISA})).json()["id"]
    attempts = 0
    for _ in range(7):
        declined = await real_shop.post("/charges", {**CARD, "source": token})
        assert_problem(declined, 402, "card_declined")
        attempts += len(declined.json()["charge"]["attempts"])
    assert attempts == 20
    problem = assert_problem(await real_shop.post("/charges", {**CARD, "source": token}), 402)
    assert problem["code"] == "card_retry_limit_reached" and problem["charge"]["attempts"] == []
    assert (await real_shop.post("/charges", CARD)).status_code == 201, "other cards are not concerned"


async def test_rule_14_capture_before_comes_from_the_rails_window(real_shop: Shop) -> None:
    for rail, days in (("card_alpha", 7), ("card_gamma", 5)):
        charge = (await real_shop.post("/charges", {**CARD, "rail": rail, "capture": False})).json()
        left = datetime.fromisoformat(charge["capture_before"]) - datetime.fromisoformat(charge["created_at"])
        assert abs(left - timedelta(days=days)) < timedelta(minutes=1)


async def test_rule_13_frictionless_and_exemption_over_the_api(real_shop: Shop) -> None:
    proof = {"eci": "05", "cavv": "AAABCSIIAAAAAAACcwgAEMCoNh+=", "version": "2.2.0"}
    charge = await real_shop.post("/charges", {**CARD, "source": "tok_3ds", "authentication": proof})
    assert charge.status_code == 201 and charge.json()["status"] == "settled", charge.text
    assert "cavv" not in charge.text
    claimed = {**CARD, "source": "tok_3ds", "authentication": {"exemption": "low_value"}}
    charge = await real_shop.post("/charges", claimed)
    assert charge.json()["status"] == "requires_action"
    assert charge.json()["authentication"] == {"exemption": "low_value"}
    both = {**CARD, "authentication": {**proof, "exemption": "low_value"}}
    assert_problem(await real_shop.post("/charges", both), 422, "authentication_invalid", "authentication")
