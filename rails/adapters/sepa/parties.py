"""Who pays and who is paid: our own account from the configuration, the payee from the order.

Decides what a destination must have before anything is sent; the checks are offline.
"""

from dataclasses import dataclass

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from domain.rail import DeclineClass, Outcome, RailAnswer, RailRequest
from rails.configuration import RailConfiguration, required
from rails.iso20022.orders import Party
from rails.iso20022.references import sepa_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """A payee's account. `bic`: of the bank the IBAN names, where the registry knows it."""

    name: str
    iban: str
    bic: str | None


def debtor_of(rail: str, configuration: RailConfiguration) -> Party:
    """Return our own account: `debtor_iban`, `debtor_name` and, where the bank asks for it, `debtor_bic`.

    Raises:
        ValueError: something is missing, or the IBAN is none. Not retryable.
    """
    try:
        iban = str(IBAN(required(rail, configuration, "debtor_iban")).compact)
    except SchwiftyException as error:
        raise ValueError(f"the rail {rail} has no valid `debtor_iban`") from error
    return Party(
        name=sepa_text(required(rail, configuration, "debtor_name")),
        iban=iban,
        bic=configuration.get("debtor_bic") or None,
    )


def payee_of(request: RailRequest) -> Payee | RailAnswer:
    """Return who is to be paid, or the answer that nobody can be paid like this: nothing was sent."""
    destination = request.destination or {}
    try:
        iban = IBAN(destination.get("iban", ""))
    except (SchwiftyException, ValueError):
        return RailAnswer(
            outcome=Outcome.DECLINED, decline_code="incorrect_account_number", decline_class=DeclineClass.DATA_FIX
        )
    if not iban.in_sepa_zone:
        detail = f"{iban.country_code} is not in SEPA: another rail may reach it"
        return RailAnswer(outcome=Outcome.NOT_ATTEMPTED, detail=detail)
    bic = iban.bic
    return Payee(
        name=sepa_text(destination.get("name", "")), iban=str(iban.compact), bic=str(bic) if bic is not None else None
    )
