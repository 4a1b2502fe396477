"""The signature many providers put on a callback: `t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`."""

import hashlib
import hmac
from collections.abc import Sequence

from domain.inbound import CallbackRefusedError

TOLERANCE_SECONDS = 300
"""How far the sender's clock may be from ours, either way."""


def check_timed_signature(header: str, body: bytes, *, secrets: Sequence[bytes], now: float) -> None:
    """Let a body pass that was signed with one of the secrets in the last five minutes.

    Several `v1` may be given, and several secrets held: both happen while a secret rotates. Constant time.
    Source: Stripe's documentation, "Verify webhook signatures manually", read 2025-11.

    Raises:
        CallbackRefusedError: the signature is missing, wrong or too old. Not retryable.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    stamps = [value for name, _, value in parts if name == "t" and value.isascii() and value.isdigit()]
    signatures = [value.encode() for name, _, value in parts if name == "v1"]
    if not stamps or len(stamps[0]) > 14 or abs(now - int(stamps[0])) > TOLERANCE_SECONDS:
        raise CallbackRefusedError("the signature is missing or too old")
    expected = [
        hmac.new(secret, stamps[0].encode() + b"." + body, hashlib.sha256).hexdigest().encode()
        for secret in secrets
        if secret
    ]
    matching = [hmac.compare_digest(ours, given) for ours in expected for given in signatures]
    if not any(matching):
        raise CallbackRefusedError("the signature is wrong")
