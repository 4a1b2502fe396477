"""Whether and where to try again: pure rules over a charge, its stored plan and the last answer."""

from dataclasses import replace

from domain.charge import Charge
from domain.identifiers import rail_key
from domain.rail import Attempt, DeclineClass, Flow, Outcome, RailAnswer
from workflows.policies import FAILOVER_SECONDS_MAX

RETRY_LIMIT_CODE = "card_retry_limit_reached"


def with_answer(attempt: Attempt, answer: RailAnswer) -> Attempt:
    """Return the attempt as it stands after an answer."""
    return replace(
        attempt,
        outcome=answer.outcome,
        decline_code=answer.decline_code,
        decline_class=answer.decline_class,
        rail_reference=answer.rail_reference or attempt.rail_reference,
        retry_after_seconds=answer.retry_after_seconds,
        final_funds=answer.final_funds,
        cost_minor=answer.cost_minor if answer.cost_minor is not None else attempt.cost_minor,
        latency_ms=round(answer.latency_ms, 3) if answer.latency_ms else attempt.latency_ms,
    )


def may_fail_over(answer: RailAnswer) -> bool:
    """Tell whether an answer is a definite no that another rail may turn into a yes (rule 12)."""
    if answer.outcome is Outcome.NOT_ATTEMPTED:
        return True
    return answer.outcome is Outcome.DECLINED and answer.decline_class is DeclineClass.SOFT


def may_try(charge: Charge, tries_left: int | None) -> bool:
    """Tell whether the card's scheme still lets it be tried, after the declines of this charge (rule 11)."""
    declined = sum(attempt.outcome is Outcome.DECLINED for attempt in charge.attempts)
    return tries_left is None or declined < tries_left


def is_out_of_time(charge: Charge) -> bool:
    """Tell whether the rails have used up the time a customer can be kept waiting (rule 12)."""
    return sum(attempt.latency_ms or 0.0 for attempt in charge.attempts) >= FAILOVER_SECONDS_MAX * 1000


def next_attempt(
    charge: Charge, answer: RailAnswer, attempts_max: int, tries_left: int | None = None
) -> Attempt | None:
    """Return the next attempt in the order of the stored plan, or None when there is none.

    A forced rail never fails over; no rail is tried twice; `attempts_max` counts all attempts.
    """
    if not may_fail_over(answer) or charge.requested_rail != "auto" or len(charge.attempts) >= attempts_max:
        return None
    if not may_try(charge, tries_left):
        return None
    tried = {attempt.rail for attempt in charge.attempts}
    untried = [option for option in charge.route if option.rail not in tried]
    if not untried:
        return None
    why = answer.decline_code or answer.outcome.value
    return new_attempt(charge, untried[0].rail, reason=f"{charge.attempts[-1].rail} said {why}")


def new_attempt(charge: Charge, rail: str, *, reason: str) -> Attempt:
    """Return the charge's next authorization attempt on `rail`, numbered after the last one."""
    number = len(charge.attempts) + 1
    estimates = {option.rail: round(option.landed_cost_minor) for option in charge.route}
    return Attempt(
        rail_key=rail_key(charge.id, number),
        operation_id=charge.id,
        number=number,
        rail=rail,
        flow=Flow.AUTHORIZE,
        amount_minor=charge.amount_minor,
        currency=charge.currency,
        cost_estimate_minor=estimates.get(rail, 0),
        reason=reason,
        card_fingerprint=charge.card_fingerprint,
        segment=dict(charge.segment) if charge.segment else None,
    )
