"""The chart of accounts: how the ledger's own accounts are named, and how accounts are opened.

Balances are credits minus debits for every account, so what a rail owes us is a negative balance of
its clearing account. Decides names and limits; `ledger.posting_rules` decides who is debited when.
"""

from domain.identifiers import Mode, account_code, default_account_id
from domain.ledger import AccountOpening


def rail_clearing(rail: str, currency: str, mode: Mode) -> str:
    """Return the account of what a rail owes us (asset). Zero once the rail has paid for everything."""
    return system_account("rail_clearing", currency, mode, rail)


def payouts_in_transit(rail: str, currency: str, mode: Mode) -> str:
    """Return the account of money that left a merchant and is not yet paid by the rail (liability)."""
    return system_account("payouts_in_transit", currency, mode, rail)


def safeguarding(bank: str, currency: str, mode: Mode) -> str:
    """Return the account of the money a bank keeps for our customers (asset)."""
    return system_account("safeguarding", currency, mode, bank)


def fee_revenue(currency: str, mode: Mode) -> str:
    """Return the account of the fees earned."""
    return system_account("fee_revenue", currency, mode)


def suspense(currency: str, mode: Mode) -> str:
    """Return the account of money that is here and whose owner a person must still find (liability)."""
    return system_account("suspense", currency, mode)


def rail_cost(rail: str, currency: str, mode: Mode) -> str:
    """Return the account of what a rail kept of its settlements (expense)."""
    return system_account("rail_cost", currency, mode, rail)


def fx_conversion(currency: str, mode: Mode) -> str:
    """Return the account through which money leaves or enters a currency: our position in it from FX."""
    return system_account("fx_conversion", currency, mode)


def sandbox_funding(currency: str, mode: Mode) -> str:
    """Return the account sandbox money comes from (test mode only)."""
    assert mode is Mode.TEST, "sandbox money exists in test mode only"
    return system_account("sandbox_funding", currency, mode)


def system_account(role: str, currency: str, mode: Mode, detail: str | None = None) -> str:
    """Return `{role}[:{detail}]:{currency}:{mode}`: `rail_clearing:alpha:EUR:test`."""
    middle = f"{role}:{detail}" if detail else role
    return f"{middle}:{currency}:{mode.value}"


def is_system_account(code: str) -> bool:
    """Tell the ledger's own accounts from those of merchants, whose codes are paths."""
    return "/" not in code


def opening_of(code: str, currency: str, *, merchant_id: str, mode: Mode) -> AccountOpening | None:
    """Return how an account is opened on first use; None for one its owner must have opened.

    The ledger's own accounts have no limits. A merchant's default account may not be overdrawn
    (chargebacks and fees still post).
    """
    if is_system_account(code):
        return AccountOpening(code=code, currency=currency, kind=code.split(":", 1)[0])
    if code == account_code(merchant_id, mode, default_account_id(merchant_id, currency)):
        return AccountOpening(
            code=code, currency=currency, kind="merchant", merchant_id=merchant_id, mode=mode, min_balance_minor=0
        )
    return None
