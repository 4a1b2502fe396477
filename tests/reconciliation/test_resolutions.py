"""What a decision about an exception moves, and what it may not."""

from typing import Any

import pytest

from domain.drift_facts import DriftCredited, Pot, RailAdjusted
from reconciliation.resolutions import Resolution, ResolutionRefusedError, facts_of

DRIFT: dict[str, Any] = {
    "id": "exc_1",
    "kind": "line_differs",
    "subject": "ch_1",
    "rail": "card_gamma",
    "bank": None,
    "amount": 8420,
    "currency": "EUR",
    "difference": -20,
}
SUSPENSE: dict[str, Any] = {
    "id": "exc_2",
    "kind": "money_in_suspense",
    "subject": "po_1",
    "rail": "bank_instant",
    "amount": 5000,
    "currency": "EUR",
}
LOST = SUSPENSE | {"id": "exc_dp_1_dispute_created", "subject": "dp_1", "amount_in_suspense": 6500}


def adjusted(exception: dict[str, Any], amount: int, *, suspense: bool = False) -> RailAdjusted:
    return RailAdjusted(
        drift_id=exception["id"],
        rail=exception["rail"],
        amount_minor=amount,
        currency="EUR",
        from_suspense=suspense,
    )


@pytest.mark.parametrize(
    ("exception", "amount", "fact"),
    [
        (DRIFT, None, adjusted(DRIFT, -20)),
        (DRIFT, -5, adjusted(DRIFT, -5)),
        (DRIFT | {"kind": "settlement_differs", "difference": None}, 420, adjusted(DRIFT, 420)),
        (SUSPENSE, None, adjusted(SUSPENSE, 5000, suspense=True)),
        (LOST, None, adjusted(LOST, -6500, suspense=True)),
        (
            LOST | {"id": "exc_dp_1_dispute_won"},
            None,
            adjusted(LOST | {"id": "exc_dp_1_dispute_won"}, 6500, suspense=True),
        ),
    ],
)
def test_rule_30_a_write_off_is_the_rails_cost(
    exception: dict[str, Any], amount: int | None, fact: RailAdjusted
) -> None:
    assert facts_of(exception, Resolution(action="write_off", amount_minor=amount)) == (fact,)


@pytest.mark.parametrize(
    ("exception", "source", "party", "amount"),
    [
        (DRIFT | {"difference": 50}, Pot.RAIL, "card_gamma", 50),
        (SUSPENSE, Pot.SUSPENSE, "bank_instant", 5000),
        (DRIFT | {"kind": "line_unknown", "rail": None, "bank": "main", "difference": 700}, Pot.BANK, "main", 700),
    ],
)
def test_money_is_credited_from_where_it_stands(
    exception: dict[str, Any], source: Pot, party: str, amount: int
) -> None:
    (fact,) = facts_of(exception, Resolution(action="credit_account", account="acct_a"))
    assert fact == DriftCredited(
        drift_id=exception["id"], account="acct_a", source=source, party=party, amount_minor=amount, currency="EUR"
    )


@pytest.mark.parametrize(
    ("exception", "wanted", "code"),
    [
        (DRIFT, Resolution(action="write_off", amount_minor=-21), "amount_invalid"),
        (DRIFT, Resolution(action="write_off", amount_minor=20), "amount_invalid"),
        (DRIFT, Resolution(action="write_off", amount_minor=0), "amount_invalid"),
        (DRIFT, Resolution(action="accept", amount_minor=-20), "amount_invalid"),
        (DRIFT, Resolution(action="accept", account="acct_a"), "account_invalid"),
        (DRIFT, Resolution(action="credit_account"), "account_invalid"),
        (DRIFT, Resolution(action="credit_account", account="acct_a"), "amount_must_be_positive"),
        (LOST, Resolution(action="credit_account", account="acct_a"), "amount_must_be_positive"),
        (DRIFT | {"difference": None}, Resolution(action="write_off"), "amount_required"),
        (DRIFT | {"rail": None, "bank": "main"}, Resolution(action="write_off"), "action_not_possible"),
        (DRIFT | {"currency": None}, Resolution(action="write_off"), "action_not_possible"),
        (SUSPENSE, Resolution(action="accept"), "action_not_possible"),
        (DRIFT | {"kind": "orphan"}, Resolution(action="accept"), "action_not_possible"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(exception: dict[str, Any], wanted: Resolution, code: str) -> None:
    with pytest.raises(ResolutionRefusedError) as error:
        facts_of(exception, wanted)
    assert error.value.code == code


def test_accepting_moves_nothing() -> None:
    assert facts_of(DRIFT, Resolution(action="accept")) == ()
