"""What the Temporal UI can list runs by. Not encrypted: never personal data."""

from temporalio.common import SearchAttributeKey

MERCHANT = SearchAttributeKey.for_keyword("LedgerlineMerchant")
KIND = SearchAttributeKey.for_keyword("LedgerlineKind")
STATUS = SearchAttributeKey.for_keyword("LedgerlineStatus")
RAIL = SearchAttributeKey.for_keyword("LedgerlineRail")
CURRENCY = SearchAttributeKey.for_keyword("LedgerlineCurrency")
AMOUNT_MINOR = SearchAttributeKey.for_int("LedgerlineAmountMinor")
RISK_DECISION = SearchAttributeKey.for_keyword("LedgerlineRiskDecision")

ALL_KEYS = (MERCHANT, KIND, STATUS, RAIL, CURRENCY, AMOUNT_MINOR, RISK_DECISION)
