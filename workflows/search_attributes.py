"""What the Temporal UI can list runs by. Not encrypted: never personal data."""

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

MERCHANT = SearchAttributeKey.for_keyword("LedgerlineMerchant")
KIND = SearchAttributeKey.for_keyword("LedgerlineKind")
STATUS = SearchAttributeKey.for_keyword("LedgerlineStatus")
RAIL = SearchAttributeKey.for_keyword("LedgerlineRail")
CURRENCY = SearchAttributeKey.for_keyword("LedgerlineCurrency")
AMOUNT_MINOR = SearchAttributeKey.for_int("LedgerlineAmountMinor")
RISK_DECISION = SearchAttributeKey.for_keyword("LedgerlineRiskDecision")

ALL_KEYS = (MERCHANT, KIND, STATUS, RAIL, CURRENCY, AMOUNT_MINOR, RISK_DECISION)


def started_with(
    *, merchant_id: str, kind: str, status: str, currency: str, amount_minor: int
) -> TypedSearchAttributes:
    """Return what a run is listed by from its start."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(MERCHANT, merchant_id),
            SearchAttributePair(KIND, kind),
            SearchAttributePair(STATUS, status),
            SearchAttributePair(CURRENCY, currency),
            SearchAttributePair(AMOUNT_MINOR, amount_minor),
        ]
    )
