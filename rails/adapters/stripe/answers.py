"""What Stripe's objects and errors mean for an order: the one place where they become RailAnswers."""

from pathlib import Path

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer
from rails.adapters.stripe.wire import Authorization, RefundShown, Standing, read_error
from rails.decline_tables import read_decline_table
from rails.exchange import Reply
from rails.outcomes import classify_status

DECLINES = read_decline_table(Path(__file__).parent / "decline_codes.json")

# Both say yes to an authorization; what was captured since is another order's.
_TAKEN = frozenset({Standing.AUTHORIZED, Standing.CAPTURED})


def declined(
    code: str, *, advice: str | None = None, reference: str | None = None, latency_ms: float = 0.0
) -> RailAnswer:
    """Return a definite no with what it permits next."""
    return RailAnswer(
        outcome=Outcome.DECLINED,
        decline_code=code,
        decline_class=DECLINES.classify(code, advice),
        rail_reference=reference,
        latency_ms=latency_ms,
    )


def answer_of_error(reply: Reply) -> RailAnswer:
    """Return what a non-2xx says about the order.

    402: the bank or Stripe said no. 429: turned away before anything was done. A key used for another order
    (400 `idempotency_error`) or in use (409): something was done under it, and not this.
    Source: docs.stripe.com/api/errors.
    """
    error = read_error(reply.body)
    if reply.status == 429:
        return reply.silence(Outcome.NOT_ATTEMPTED, "Stripe takes no more calls right now")
    if error.type == "idempotency_error":
        return reply.silence(Outcome.UNKNOWN, "the key was used for another order")
    outcome = (
        Outcome.DECLINED
        if reply.status == 402
        else classify_status(reply.status, says_not_attempted=False, guarantees_not_attempted=False)
    )
    if outcome is not Outcome.DECLINED:
        return reply.silence(outcome, f"Stripe answered {reply.status}")
    return declined(error.code, advice=error.advice, latency_ms=reply.latency_ms)


def answer_of_authorization(found: Authorization, *, latency_ms: float = 0.0) -> RailAnswer:
    """Return what an authorization's standing says about the order that made it.

    An intent cancelled before money was asked for never charges: the customer's step was wanted, and we do
    without it. One that still waits for the customer could yet be charged: UNKNOWN until it is cancelled.
    """
    if found.standing is Standing.DECLINED:
        assert found.decline_code is not None
        return declined(found.decline_code, advice=found.advice, reference=found.id, latency_ms=latency_ms)
    if found.standing is Standing.CANCELED:
        return declined("authentication_required", reference=found.id, latency_ms=latency_ms)
    if found.standing is Standing.PROCESSING:
        outcome = Outcome.PENDING
    elif found.standing in _TAKEN or found.standing is Standing.VOIDED:
        outcome = Outcome.APPROVED
    else:
        outcome = Outcome.UNKNOWN
    return RailAnswer(outcome=outcome, rail_reference=found.id, latency_ms=latency_ms, detail=found.standing.value)


def answer_of_ending(flow: Flow, found: Authorization, *, mine: bool, latency_ms: float = 0.0) -> RailAnswer:
    """Return what an authorization's standing says about a capture or void of it.

    `mine`: this capture is the one that was sent. An authorization is captured once at Stripe, so another's
    capture is a definite no to this one. While it is merely authorized, nothing is said.
    """
    assert flow in (Flow.CAPTURE, Flow.VOID)
    done = Standing.CAPTURED if flow is Flow.CAPTURE else Standing.VOIDED
    if found.standing is done and (mine or flow is Flow.VOID):
        return RailAnswer(outcome=Outcome.APPROVED, rail_reference=found.id, latency_ms=latency_ms)
    if flow is Flow.VOID and found.standing is Standing.CANCELED:
        return RailAnswer(outcome=Outcome.APPROVED, rail_reference=found.id, latency_ms=latency_ms)
    if found.standing is Standing.CAPTURED:
        return declined("already_captured", reference=found.id, latency_ms=latency_ms)
    if found.standing in (Standing.VOIDED, Standing.CANCELED, Standing.DECLINED):
        return declined("authorization_voided", reference=found.id, latency_ms=latency_ms)
    return RailAnswer(
        outcome=Outcome.UNKNOWN, rail_reference=found.id, latency_ms=latency_ms, detail=found.standing.value
    )


def answer_of_refund(found: RefundShown, *, latency_ms: float = 0.0) -> RailAnswer:
    """Return what a refund's status says about the order that made it."""
    if found.status in ("failed", "canceled"):
        code = found.failure or f"refund_{found.status}"
        return RailAnswer(
            outcome=Outcome.DECLINED,
            decline_code=code,
            decline_class=DeclineClass.HARD,
            rail_reference=found.id,
            latency_ms=latency_ms,
        )
    outcome = {"succeeded": Outcome.APPROVED, "pending": Outcome.PENDING, "requires_action": Outcome.PENDING}
    return RailAnswer(
        outcome=outcome.get(found.status, Outcome.UNKNOWN),
        rail_reference=found.id,
        latency_ms=latency_ms,
        detail=found.status,
    )
