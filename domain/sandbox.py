"""The instruments of the sandbox: tokens that stand for behaviours, good in test mode only."""

SANDBOX_TOKENS = frozenset(
    {
        "tok_visa_4291",
        "tok_declined_hard",
        "tok_declined_soft",
        "tok_soft_then_approved",
        "tok_hard_then_approved",
        "tok_not_attempted",
        "tok_timeout_approved",
        "tok_timeout_declined",
        "tok_timeout_forever",
        "tok_3ds",
        "tok_risk_block",
        "tok_risk_step_up",
        "tok_refund_fails",
        "tok_refund_fails_late",
        "tok_disputed",
        "tok_inquiry",
        "tok_late_approved",
    }
)
RANDOM_PREFIX = "tok_random_"
"""Tokens whose fate a rail's own odds decide, for load and routing experiments."""


def is_sandbox_token(token: str) -> bool:
    """Tell whether a token stands for a behaviour of the sandbox rather than for a stored card."""
    return is_scripted_token(token) or token.startswith(RANDOM_PREFIX)


def is_scripted_token(token: str) -> bool:
    """Tell whether a token says beforehand how it ends: nothing can be learned from it."""
    return token in SANDBOX_TOKENS
