"""What is known of the two SEPA schemes before an order is given: limits, hours, finality, prices.

Figures of the schemes name their source; the price is what your bank's contract says (`fee_minor`).
"""

from datetime import time

from domain.rail import Flow
from rails.adapter import AmountLimits, RailPrice, RailProfile
from rails.bank_files import pace_of
from rails.banking_days import CutOff
from rails.configuration import RailConfiguration, moves_real_money

CURRENCY = "EUR"

CREDIT_TRANSFER_LARGEST_MINOR = 99_999_999_999
"""999,999,999.99 EUR, the largest amount the scheme's messages carry. Source: EPC125-05, SEPA credit transfer
rulebook 2025, DS-02 (amount)."""

EXECUTION_SECONDS = 10
"""How long the payee's bank has from the time stamp of an instant transfer. Source: Regulation (EU) 2024/886,
article 5a(4)(c), in force for sending since 9 October 2025; EPC004-16, SCT Inst rulebook 2025."""

NOT_FOUND_FINAL_AFTER_SECONDS = 60
"""An instant transfer that arrives after its time-out is rejected (reasons AB05 to AB10, TM01), so one the
clearing doesn't know a minute after its time stamp will never happen. The scheme's ten seconds, with room for
clocks that differ."""

BANK_DEADLINE_SECONDS = 10.0
BANK_ASKED_AFTER_SECONDS = (10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0)
"""A bank reads a file within seconds and answers within minutes; bookings mostly come by notice before these."""

INSTANT_ASKED_AFTER_SECONDS = (2.0, 10.0, 30.0, 120.0, 600.0, 3_600.0)
"""The schedule of semantics rule 8, after the scheme's own ten seconds."""

DAY_SECONDS = 86_400.0
INSTANT_PRIOR, CREDIT_TRANSFER_PRIOR = 0.96, 0.98


def credit_transfer_profile(name: str, configuration: RailConfiguration) -> RailProfile:
    """Return the profile of credit transfers through one account.

    Raises:
        ValueError: a figure in the line cannot be read. Not retryable.
    """
    return RailProfile(
        name=name,
        kind="bank",
        flows=frozenset({Flow.PAYOUT}),
        prices={CURRENCY: RailPrice(basis_points=0, fixed_minor=int(configuration.get("fee_minor", "20")))},
        settlement_seconds=DAY_SECONDS,
        final_funds=False,
        idempotent=True,
        not_found_final_after_seconds=None,
        approval_prior=CREDIT_TRANSFER_PRIOR,
        payout_destinations=frozenset({"iban"}),
        sandbox=not moves_real_money(name, configuration),
        amount_limits={CURRENCY: _limits(configuration, CREDIT_TRANSFER_LARGEST_MINOR)},
        cut_off=CutOff(
            at=time.fromisoformat(configuration.get("cut_off", "15:00")),
            zone=configuration.get("zone", "Europe/Berlin"),
            calendar="ECB",
        ),
        pace=pace_of(configuration, deadline_seconds=BANK_DEADLINE_SECONDS, ask_after_seconds=BANK_ASKED_AFTER_SECONDS),
    )


def instant_profile(name: str, configuration: RailConfiguration) -> RailProfile:
    """Return the profile of instant transfers from one account: around the clock, on every day.

    Raises:
        ValueError: a figure in the line cannot be read. Not retryable.
    """
    return RailProfile(
        name=name,
        kind="bank",
        flows=frozenset({Flow.PAYOUT}),
        prices={CURRENCY: RailPrice(basis_points=0, fixed_minor=int(configuration.get("fee_minor", "25")))},
        settlement_seconds=float(EXECUTION_SECONDS),
        final_funds=True,
        # An order sent before is asked about (pacs.028) before anything else, and never sent again.
        idempotent=False,
        not_found_final_after_seconds=NOT_FOUND_FINAL_AFTER_SECONDS,
        approval_prior=INSTANT_PRIOR,
        payout_destinations=frozenset({"iban"}),
        sandbox=not moves_real_money(name, configuration),
        amount_limits={CURRENCY: _limits(configuration, CREDIT_TRANSFER_LARGEST_MINOR)},
        pace=pace_of(
            configuration,
            deadline_seconds=float(EXECUTION_SECONDS),
            ask_after_seconds=INSTANT_ASKED_AFTER_SECONDS,
        ),
    )


def _limits(configuration: RailConfiguration, largest_minor: int) -> AmountLimits:
    return AmountLimits(largest_minor=int(configuration.get("largest_minor", str(largest_minor))))
