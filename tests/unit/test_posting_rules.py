"""Facts into debits and credits: the whole chart of accounts, by example."""

import typing
from datetime import UTC, datetime
from typing import Any

import pytest

from domain import facts
from domain.drift_facts import Pot
from domain.identifiers import Mode, account_code, default_account_id
from domain.ledger import Movement, Phase
from ledger.posting_rules import movements_of, openings_of

MERCHANT = "mer_1"
ACCOUNT = default_account_id(MERCHANT, "EUR")
OWNED = account_code(MERCHANT, Mode.TEST, ACCOUNT)
CLEARING = "rail_clearing:alpha:EUR:test"
TRANSIT = "payouts_in_transit:alpha:EUR:test"
FEES = "fee_revenue:EUR:test"
CHARGE: dict[str, Any] = {"charge_id": "ch_1", "account": ACCOUNT, "rail": "alpha", "currency": "EUR"}
REFUND: dict[str, Any] = {
    "refund_id": "re_1",
    "account": ACCOUNT,
    "rail": "alpha",
    "currency": "EUR",
    "amount_minor": 500,
}
PAYOUT: dict[str, Any] = {"payout_id": "po_1", "rail": "alpha", "currency": "EUR", "amount_minor": 700}
ORPHAN: dict[str, Any] = {"orphan_id": "exc_o", "rail": "alpha", "currency": "EUR", "amount_minor": 8420}
SUSPENSE = "suspense:EUR:test"
COST = "rail_cost:alpha:EUR:test"
BETWEEN: dict[str, Any] = {"source": ACCOUNT, "destination": "acct_b", "currency": "EUR"}
OTHER = account_code(MERCHANT, Mode.TEST, "acct_b")
THEN = datetime(2026, 1, 2, tzinfo=UTC)

Row = tuple[str, str, str, int, Phase, str | None, bool]
POST, HOLD, PART, FINAL, VOID = Phase.POST, Phase.HOLD, Phase.POST_HOLD, Phase.POST_HOLD_FINAL, Phase.VOID_HOLD
EXAMPLES: list[tuple[facts.Fact, list[Row]]] = [
    (
        facts.ChargeAuthorized(**CHARGE, amount_minor=8420),
        [("ch_1:hold", CLEARING, OWNED, 8420, HOLD, None, False)],
    ),
    (
        facts.ChargeCaptured(**CHARGE, amount_minor=8420, fee_minor=158),
        [
            ("ch_1:capture-sale:gross", CLEARING, OWNED, 8420, POST, None, False),
            ("ch_1:capture-sale:fee", OWNED, FEES, 158, POST, None, True),
        ],
    ),
    (
        facts.ChargeCaptured(**CHARGE, amount_minor=100, fee_minor=0, capture="t2", held=True, final=False),
        [("ch_1:capture-t2:gross", CLEARING, OWNED, 100, PART, "ch_1:hold", False)],
    ),
    (
        facts.ChargeCaptured(**CHARGE, amount_minor=100, fee_minor=0, capture="t3", held=True),
        [("ch_1:capture-t3:gross", CLEARING, OWNED, 100, FINAL, "ch_1:hold", False)],
    ),
    (
        facts.ChargeReleased(**CHARGE, amount_minor=8420),
        [("ch_1:release", CLEARING, OWNED, 8420, VOID, "ch_1:hold", False)],
    ),
    (facts.RefundReserved(**REFUND), [("re_1:hold", OWNED, CLEARING, 500, HOLD, None, False)]),
    (facts.RefundSucceeded(**REFUND), [("re_1:post", OWNED, CLEARING, 500, FINAL, "re_1:hold", False)]),
    (facts.RefundFailed(**REFUND), [("re_1:release", OWNED, CLEARING, 500, VOID, "re_1:hold", False)]),
    (facts.RefundReversed(**REFUND), [("re_1:reversal", CLEARING, OWNED, 500, POST, None, True)]),
    (
        facts.RefundReversed(**REFUND, to_suspense=True),
        [("re_1:reversal", CLEARING, "suspense:EUR:test", 500, POST, None, True)],
    ),
    (
        facts.RefundFeeReturned(
            refund_id="re_1", charge_id="ch_1", account=ACCOUNT, sequence=2, difference_minor=94, currency="EUR"
        ),
        [("ch_1:fee-return-2", FEES, OWNED, 94, POST, None, True)],
    ),
    (
        facts.RefundFeeReturned(
            refund_id="re_1", charge_id="ch_1", account=ACCOUNT, sequence=3, difference_minor=-94, currency="EUR"
        ),
        [("ch_1:fee-return-3", OWNED, FEES, 94, POST, None, True)],
    ),
    (
        facts.ChargeSettled(charge_id="ch_1", rail="alpha", settlement="s1", rail_fee_minor=91, currency="EUR"),
        [("ch_1:settlement-s1:cost", "rail_cost:alpha:EUR:test", CLEARING, 91, POST, None, True)],
    ),
    (facts.ChargeSettled(charge_id="ch_1", rail="alpha", settlement="s1", rail_fee_minor=0, currency="EUR"), []),
    (
        facts.FeeTrueUp(charge_id="ch_1", account=ACCOUNT, settlement="s1", difference_minor=5, currency="EUR"),
        [("ch_1:settlement-s1:true-up", OWNED, FEES, 5, POST, None, True)],
    ),
    (
        facts.FeeTrueUp(charge_id="ch_1", account=ACCOUNT, settlement="s1", difference_minor=-5, currency="EUR"),
        [("ch_1:settlement-s1:true-up", FEES, OWNED, 5, POST, None, True)],
    ),
    (facts.PayoutStarted(**PAYOUT, account=ACCOUNT), [("po_1:start", OWNED, TRANSIT, 700, POST, None, False)]),
    (facts.PayoutPaid(**PAYOUT), [("po_1:paid", TRANSIT, CLEARING, 700, POST, None, False)]),
    (
        facts.PayoutRerouted(**PAYOUT, from_rail="beta", attempt_number=2),
        [("po_1:reroute2", "payouts_in_transit:beta:EUR:test", TRANSIT, 700, POST, None, False)],
    ),
    (facts.PayoutFailed(**PAYOUT, account=ACCOUNT), [("po_1:failed", TRANSIT, OWNED, 700, POST, None, False)]),
    (facts.PayoutReturned(**PAYOUT, account=ACCOUNT), [("po_1:returned", CLEARING, OWNED, 700, POST, None, True)]),
    (
        facts.TransferMade(transfer_id="tr_1", source=ACCOUNT, destination="acct_b", amount_minor=9, currency="EUR"),
        [("tr_1:post", OWNED, account_code(MERCHANT, Mode.TEST, "acct_b"), 9, POST, None, False)],
    ),
    (
        facts.TransferHeld(transfer_id="tr_1", **BETWEEN, amount_minor=9),
        [("tr_1:hold", OWNED, OTHER, 9, HOLD, None, False)],
    ),
    (
        facts.TransferPosted(transfer_id="tr_1", **BETWEEN, amount_minor=4, post="t", final=False),
        [("tr_1:post-t", OWNED, OTHER, 4, PART, "tr_1:hold", False)],
    ),
    (
        facts.TransferPosted(transfer_id="tr_1", **BETWEEN, amount_minor=5, post="t2"),
        [("tr_1:post-t2", OWNED, OTHER, 5, FINAL, "tr_1:hold", False)],
    ),
    (
        facts.TransferReleased(transfer_id="tr_1", **BETWEEN, amount_minor=9),
        [("tr_1:release", OWNED, OTHER, 9, VOID, "tr_1:hold", False)],
    ),
    (
        facts.TransferReversed(transfer_id="tr_1", reversal_id="tr_2", **BETWEEN, amount_minor=9),
        [("tr_1:reversal", OWNED, OTHER, 9, POST, None, False)],
    ),
    (
        facts.CurrencyExchanged(
            transfer_id="tr_1",
            quote_id="fxq_1",
            source=ACCOUNT,
            destination="acct_b",
            sell_amount_minor=10_000,
            sell_currency="EUR",
            buy_amount_minor=10_840,
            buy_currency="USD",
        ),
        [
            ("fxq_1:sell", OWNED, "fx_conversion:EUR:test", 10_000, POST, None, False),
            (
                "fxq_1:buy",
                "fx_conversion:USD:test",
                account_code(MERCHANT, Mode.TEST, "acct_b"),
                10_840,
                POST,
                None,
                False,
            ),
        ],
    ),
    (
        facts.AccountFunded(transfer_id="tr_1", account=ACCOUNT, amount_minor=9, currency="EUR"),
        [("tr_1:post", "sandbox_funding:EUR:test", OWNED, 9, POST, None, False)],
    ),
    (
        facts.ChargebackReceived(
            dispute_id="dp_1", account=ACCOUNT, rail="alpha", amount_minor=300, fee_minor=15, currency="EUR"
        ),
        [
            ("dp_1:chargeback", OWNED, CLEARING, 300, POST, None, True),
            ("dp_1:fee", OWNED, FEES, 15, POST, None, True),
        ],
    ),
    (
        facts.OrphanReceived(**ORPHAN, taken=True),
        [("exc_o:received", CLEARING, SUSPENSE, 8420, POST, None, False)],
    ),
    (
        facts.OrphanReversed(**ORPHAN, taken=True),
        [("exc_o:reversed", SUSPENSE, CLEARING, 8420, POST, None, False)],
    ),
    (
        facts.OrphanReceived(**ORPHAN, taken=False),
        [("exc_o:received", CLEARING, SUSPENSE, 8420, HOLD, None, False)],
    ),
    (
        facts.OrphanReversed(**ORPHAN, taken=False),
        [("exc_o:reversed", CLEARING, SUSPENSE, 8420, VOID, "exc_o:received", False)],
    ),
    (
        facts.DisputeWon(
            dispute_id="dp_1", account=ACCOUNT, rail="alpha", amount_minor=300, fee_returned_minor=15, currency="EUR"
        ),
        [
            ("dp_1:reinstated", CLEARING, OWNED, 300, POST, None, True),
            ("dp_1:fee-returned", FEES, OWNED, 15, POST, None, True),
        ],
    ),
    (
        facts.RailRemitted(remittance_id="rem_1", rail="alpha", bank="first", amount_minor=9000, currency="EUR"),
        [("rem_1:remitted", "safeguarding:first:EUR:test", CLEARING, 9000, POST, None, True)],
    ),
    (
        facts.RailRemitted(remittance_id="rem_2", rail="alpha", bank="first", amount_minor=-9000, currency="EUR"),
        [("rem_2:remitted", CLEARING, "safeguarding:first:EUR:test", 9000, POST, None, True)],
    ),
    (
        facts.RailAdjusted(drift_id="d_1", rail="alpha", amount_minor=2, currency="EUR"),
        [("d_1:adjusted", CLEARING, COST, 2, POST, None, True)],
    ),
    (
        facts.RailAdjusted(drift_id="d_2", rail="alpha", amount_minor=-62, currency="EUR"),
        [("d_2:adjusted", COST, CLEARING, 62, POST, None, True)],
    ),
    (
        facts.RailAdjusted(drift_id="d_3", rail="alpha", amount_minor=500, currency="EUR", from_suspense=True),
        [("d_3:adjusted", SUSPENSE, COST, 500, POST, None, True)],
    ),
    *(
        (
            facts.DriftCredited(
                drift_id="d_4", account=ACCOUNT, source=source, party="alpha", amount_minor=50, currency="EUR"
            ),
            [("d_4:credited", pot, OWNED, 50, POST, None, False)],
        )
        for source, pot in (
            (Pot.RAIL, CLEARING),
            (Pot.SUSPENSE, SUSPENSE),
            (Pot.BANK, "safeguarding:alpha:EUR:test"),
        )
    ),
]


def row(movement: Movement) -> Row:
    """What an example says of a movement."""
    accounts = (movement.debit_account, movement.credit_account)
    return (
        movement.key,
        *accounts,
        movement.amount_minor,
        movement.phase,
        movement.hold_key,
        movement.past_limits,
    )


@pytest.mark.parametrize(("fact", "expected"), EXAMPLES)
def test_fact_becomes_these_movements(fact: facts.Fact, expected: list[Row]) -> None:
    """Each fact by example; stated twice it gives the same keys."""
    movements = movements_of(fact, merchant_id=MERCHANT, mode=Mode.TEST)
    assert [row(movement) for movement in movements] == expected
    if not isinstance(fact, facts.CurrencyExchanged):
        assert {movement.currency for movement in movements} <= {"EUR"}
    assert movements == movements_of(fact, merchant_id=MERCHANT, mode=Mode.TEST)


def test_floors_of_refunds_and_payouts() -> None:
    """A refund may go negative to the merchant's limit, a payout never makes a debt."""
    reserved = facts.RefundReserved(**REFUND, floor_minor=-900)
    started = facts.PayoutStarted(**PAYOUT, account=ACCOUNT)
    floors = [
        movement.floor_minor
        for fact in (facts.RefundReserved(**REFUND), reserved, started)
        for movement in movements_of(fact, merchant_id=MERCHANT, mode=Mode.TEST)
    ]
    assert floors == [None, -900, 0]


def test_every_fact_has_an_example() -> None:
    """And so a rule."""
    assert {type(fact) for fact, _ in EXAMPLES} == set(typing.get_args(facts.Fact))


def test_system_accounts_have_no_limits_and_default_accounts_no_overdraft() -> None:
    """Accounts a merchant made itself are never opened by a fact."""
    fact = facts.ChargeCaptured(**CHARGE, amount_minor=8420, fee_minor=158)
    openings = {opening.code: opening for opening in openings_of(fact, merchant_id=MERCHANT, mode=Mode.TEST)}
    assert set(openings) == {CLEARING, OWNED, FEES}
    assert (openings[CLEARING].kind, openings[CLEARING].min_balance_minor) == ("rail_clearing", None)
    assert openings[CLEARING].merchant_id is None
    assert (openings[OWNED].kind, openings[OWNED].min_balance_minor) == ("merchant", 0)
    assert (openings[OWNED].merchant_id, openings[OWNED].mode) == (MERCHANT, Mode.TEST)
    made = facts.TransferMade(transfer_id="tr", source="acct_a", destination="acct_b", amount_minor=9, currency="EUR")
    assert openings_of(made, merchant_id=MERCHANT, mode=Mode.TEST) == ()


def test_transfer_keeps_its_effective_date() -> None:
    """A transfer may count from another day than it is recorded."""
    fact = facts.TransferMade(
        transfer_id="tr_1", source="acct_a", destination="acct_b", amount_minor=9, currency="EUR", effective_at=THEN
    )
    (movement,) = movements_of(fact, merchant_id=MERCHANT, mode=Mode.TEST)
    assert movement.effective_at == THEN


def test_an_exchange_is_one_movement_in_each_currency() -> None:
    """Keys are the quote's, the reference is the transfer's; conversion accounts open in their own currency."""
    fact = next(fact for fact, _ in EXAMPLES if isinstance(fact, facts.CurrencyExchanged))
    movements = movements_of(fact, merchant_id=MERCHANT, mode=Mode.TEST)
    assert [(one.currency, one.reference) for one in movements] == [("EUR", "tr_1"), ("USD", "tr_1")]
    openings = {one.code: one.currency for one in openings_of(fact, merchant_id=MERCHANT, mode=Mode.TEST)}
    assert openings == {"fx_conversion:EUR:test": "EUR", "fx_conversion:USD:test": "USD", OWNED: "EUR"}


def test_sandbox_money_exists_in_test_mode_only() -> None:
    """Live funding is a programming error, not a refusal."""
    fact = facts.AccountFunded(transfer_id="tr_1", account=ACCOUNT, amount_minor=9, currency="EUR")
    with pytest.raises(AssertionError):
        movements_of(fact, merchant_id=MERCHANT, mode=Mode.LIVE)
