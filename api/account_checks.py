"""Looking at accounts before money is asked to move: do they exist, are they the caller's, which currency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.authentication import Merchant
from api.errors import Problem
from api.reading import Statement
from domain.identifiers import account_code, public_account_id

Currencies = Mapping[str, str]
"""Currency by public account id."""


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """The look-up of some of a merchant's accounts."""

    merchant: Merchant
    accounts: Sequence[str]

    def statement(self) -> Statement:
        """Return the look-up, to be sent along with other reads."""
        codes = [account_code(self.merchant.merchant_id, self.merchant.mode, account) for account in self.accounts]
        return Statement("SELECT code, currency FROM accounts WHERE code = ANY(%(codes)s)", {"codes": codes})

    def found(self, rows: list[dict[str, Any]]) -> Currencies:
        """Return what the look-up found."""
        return {public_account_id(row["code"]): row["currency"] for row in rows}


def require_account(found: Currencies, account: str, *, param: str) -> str:
    """Return an account's currency.

    Raises:
        Problem: 404, it does not exist or belongs to somebody else. Not retryable.
    """
    if account not in found:
        raise Problem(404, "account_not_found", "There is no such account for this merchant and mode.", param=param)
    return found[account]


def check_account(found: Currencies, account: str, currency: str, *, param: str) -> None:
    """Let an account pass that exists and is kept in `currency`.

    Raises:
        Problem: 404 no such account, 422 it is kept in another currency. Not retryable.
    """
    if require_account(found, account, param=param) != currency:
        raise Problem(422, "currency_mismatch", f"This account is not kept in {currency}.", param=param)
