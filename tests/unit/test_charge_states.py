"""Pure transitions of a charge: captures, fees, releases and what may be tried next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.charge import Charge, ChargeStatus
from domain.facts import ChargeCaptured
from domain.identifiers import Mode
from domain.rail import Attempt, DeclineClass, Flow, Outcome, RailAnswer, RouteOption
from workflows import charge_states, failover
from workflows.ports import AssessedCharge

INSTANT = datetime(2026, 1, 1, tzinfo=UTC)


def a_charge(**changes: Any) -> Charge:
    attempt = Attempt(
        rail_key="ch_1:1",
        operation_id="ch_1",
        number=1,
        rail="alpha",
        flow=Flow.AUTHORIZE,
        amount_minor=8420,
        currency="EUR",
        outcome=Outcome.APPROVED,
    )
    terms: dict[str, Any] = {
        "id": "ch_1",
        "merchant_id": "mer_a",
        "mode": Mode.TEST,
        "amount_minor": 8420,
        "currency": "EUR",
        "source": "tok_visa_4291",
        "account": "acct_a",
        "workflow_id": "w",
        "created_at": INSTANT,
        "attempts": (attempt,),
        "route": tuple(
            RouteOption(rail=rail, utility=0.0, landed_cost_minor=1.0, approval_probability=0.9, settlement_seconds=1.0)
            for rail in ("alpha", "beta", "gamma")
        ),
    }
    return Charge(**(terms | changes))


def terms_of(charge: Charge) -> AssessedCharge:
    return AssessedCharge(charge=charge, fee_basis_points=140, fee_fixed_minor=40)


def test_a_sale_with_final_funds_settles_and_without_is_captured() -> None:
    charge = a_charge()
    for final_funds, status in ((True, ChargeStatus.SETTLED), (False, ChargeStatus.CAPTURED)):
        after, facts = charge_states.approved(charge, terms_of(charge), final_funds=final_funds, capture_before=INSTANT)
        assert (after.status, after.fee_minor, len(facts)) == (status, 158, 1)


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=6), st.booleans())
def test_captures_never_exceed_the_authorization_and_fees_add_up(amounts: list[int], final_funds: bool) -> None:
    charge = a_charge(capture=False)
    charge, _ = charge_states.approved(
        charge, terms_of(charge), final_funds=final_funds, capture_before=INSTANT + timedelta(days=7)
    )
    taken = fees = 0
    for amount in amounts:
        if charge_states.capture_conflict(charge, amount) is not None:
            assert amount > charge.amount_minor - taken or charge.status is not ChargeStatus.AUTHORIZED
            continue
        charge, facts = charge_states.captured(charge, terms_of(charge), amount, final=False, final_funds=final_funds)
        fact = facts[0]
        assert isinstance(fact, ChargeCaptured) and fact.held
        taken, fees = taken + amount, fees + fact.fee_minor
    assert charge.amount_captured_minor == taken <= charge.amount_minor
    assert charge.fee_minor == fees
    assert (charge.status is ChargeStatus.AUTHORIZED) == (taken < charge.amount_minor)


def test_the_fixed_part_of_the_fee_is_charged_once() -> None:
    charge = a_charge(capture=False, rail="alpha", captures=1)
    first, facts = charge_states.captured(charge, terms_of(charge), 4210, final=False, final_funds=True)
    second, more = charge_states.captured(
        replace(first, captures=2), terms_of(charge), 4210, final=True, final_funds=True
    )
    assert [fact.fee_minor for fact in (*facts, *more) if isinstance(fact, ChargeCaptured)] == [99, 59]
    assert second.fee_minor == 158


@pytest.mark.parametrize("decline_class", [one for one in DeclineClass if one is not DeclineClass.SOFT])
def test_only_soft_declines_fail_over(decline_class: DeclineClass) -> None:
    answer = RailAnswer(outcome=Outcome.DECLINED, decline_class=decline_class)
    assert failover.next_attempt(a_charge(), answer, 3) is None


def test_unknown_never_fails_over() -> None:
    assert failover.next_attempt(a_charge(), RailAnswer(outcome=Outcome.UNKNOWN), 3) is None


def test_failover_follows_the_stored_plan_and_its_budget() -> None:
    soft = RailAnswer(outcome=Outcome.DECLINED, decline_class=DeclineClass.SOFT)
    following = failover.next_attempt(a_charge(), soft, 3)
    assert following is not None
    assert (following.rail, following.rail_key, following.number) == ("beta", "ch_1:2", 2)
    assert (following.amount_minor, following.currency) == (8420, "EUR")
    assert failover.next_attempt(a_charge(), soft, 1) is None
    assert failover.next_attempt(a_charge(requested_rail="alpha"), soft, 3) is None


def test_a_partly_captured_hold_that_ends_is_captured_not_voided() -> None:
    charge = a_charge(capture=False, rail="alpha", amount_captured_minor=1000)
    after, facts = charge_states.released(charge, ChargeStatus.EXPIRED)
    assert after.status is ChargeStatus.CAPTURED
    assert facts[0].amount_minor == 7420
