"""The 35 rules of payment semantics: each has a test named after it, and no test names a rule there is not."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

RULES: dict[int, str] = {
    1: "idempotency: scope of a key",
    2: "idempotency: same key, same request",
    3: "idempotency: same key, other request",
    4: "idempotency: same key while the first is running",
    5: "idempotency: what is remembered",
    6: "idempotency: towards the rail",
    7: "three outcomes of a rail call",
    8: "unknown is resolved by inquiry",
    9: "write-ahead attempt",
    10: "late success",
    11: "decline classes and scheme retry limits",
    12: "failover",
    13: "step-up",
    14: "authorization expiry",
    15: "capture",
    16: "void or refund",
    17: "refund bounds",
    18: "a refund fails days later",
    19: "merchant balance too low for a refund",
    20: "fees are their own movements",
    21: "disputes are their own object",
    22: "money",
    23: "balances",
    24: "two time axes",
    25: "serializable",
    26: "append-only",
    27: "invariant",
    28: "captured is not settled",
    29: "payouts come back",
    30: "reconciliation files",
    31: "safeguarding",
    32: "event sequence",
    33: "standard webhooks",
    34: "audit",
    35: "vault",
}

_NAMED = re.compile(r"^(?:async )?def test_rule_(\d\d)_\w+\(", re.MULTILINE)


def rules_tested() -> set[int]:
    """The rules that some test is named after."""
    return {int(number) for path in TESTS.rglob("test_*.py") for number in _NAMED.findall(path.read_text())}


def test_there_are_35_rules() -> None:
    assert sorted(RULES) == list(range(1, 36))


def test_every_rule_has_a_test_and_no_test_names_a_rule_that_is_none() -> None:
    assert {number: RULES[number] for number in set(RULES) - rules_tested()} == {}
    assert rules_tested() <= set(RULES)
