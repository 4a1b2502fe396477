"""A charge's next state: pure functions from the charge and an answer to the charge and its facts."""

from dataclasses import replace
from datetime import datetime

from domain.charge import Charge, ChargeStatus, charge_document
from domain.facts import ChargeAuthorized, ChargeCaptured, ChargeReleased, Fact
from domain.identifiers import capture_operation, rail_key, void_operation
from domain.money import format_amount
from domain.orphan import Orphan
from domain.pricing import Price, fee_minor, fee_of_capture
from domain.rail import Attempt, DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from workflows.policies import RAIL_DEADLINE_SECONDS
from workflows.ports import AssessedCharge
from workflows.update_answer import UpdateAnswer

OPEN_STATUSES: frozenset[str] = frozenset(
    {ChargeStatus.PROCESSING, ChargeStatus.UNKNOWN, ChargeStatus.REQUIRES_ACTION, ChargeStatus.AUTHORIZED}
)


def with_attempt(charge: Charge, attempt: Attempt) -> Charge:
    """Return the charge with its last attempt replaced by a later state of the same attempt."""
    assert charge.attempts[-1].rail_key == attempt.rail_key
    return replace(charge, attempts=(*charge.attempts[:-1], attempt))


def awaits_rail(charge: Charge) -> bool:
    """Tell whether an order's outcome is open: the authorization's, or that of a capture or void after it."""
    waits = charge.status is ChargeStatus.AUTHORIZED and charge.next_check_at is not None
    return charge.status is ChargeStatus.UNKNOWN or waits


def without_waiting(charge: Charge) -> Charge:
    """Return the charge with nothing pending: no customer's step, no next inquiry."""
    return replace(charge, next_action=None, next_check_at=None)


def approved(
    charge: Charge, terms: AssessedCharge, *, final_funds: bool, capture_before: datetime
) -> tuple[Charge, tuple[Fact, ...]]:
    """Return the charge after a rail's yes: captured at once, or authorized until `capture_before`."""
    rail = charge.winning_attempt().rail
    charge = replace(without_waiting(charge), rail=rail)
    if charge.capture:
        return captured(charge, terms, charge.amount_minor, final=True, final_funds=final_funds)
    fact = ChargeAuthorized(
        charge_id=charge.id,
        account=charge.account,
        rail=rail,
        amount_minor=charge.amount_minor,
        currency=charge.currency,
    )
    return replace(charge, status=ChargeStatus.AUTHORIZED, capture_before=capture_before), (fact,)


def captured(
    charge: Charge,
    terms: AssessedCharge,
    amount_minor: int,
    *,
    final: bool,
    final_funds: bool,
    capture: str = "sale",
) -> tuple[Charge, tuple[Fact, ...]]:
    """Return the charge after taking `amount_minor` of it.

    The fixed part of the fee is charged with the first capture only. A capture of the whole rest is
    final whatever was asked. 8420 EUR cents at 1.40 % + 40 in one capture: fee 158.
    """
    assert charge.rail is not None
    held = not charge.capture
    fee = _capture_fee(charge, terms, amount_minor)
    total = charge.amount_captured_minor + amount_minor
    final = final or total == charge.amount_minor
    fact = ChargeCaptured(
        charge_id=charge.id,
        account=charge.account,
        rail=charge.rail,
        amount_minor=amount_minor,
        fee_minor=fee,
        currency=charge.currency,
        capture=capture,
        held=held,
        final=final,
    )
    closed = ChargeStatus.SETTLED if final_funds else ChargeStatus.CAPTURED
    charge = replace(
        without_waiting(charge),
        status=closed if final else ChargeStatus.AUTHORIZED,
        captures=charge.captures + 1,
        amount_captured_minor=total,
        fee_minor=charge.fee_minor + fee,
    )
    return charge, (fact,)


def _capture_fee(charge: Charge, terms: AssessedCharge, amount_minor: int) -> int:
    assert charge.rail is not None
    if charge.pricing is not None:
        return fee_of_capture(
            charge.pricing,
            charge.rail,
            amount_minor=amount_minor,
            captured_before_minor=charge.amount_captured_minor,
            charge_minor=charge.amount_minor,
        )
    fixed = terms.fee_fixed_minor if charge.amount_captured_minor == 0 else 0
    return fee_minor(amount_minor, Price(basis_points=terms.fee_basis_points, fixed_minor=fixed))


def released(charge: Charge, status: ChargeStatus) -> tuple[Charge, tuple[Fact, ...]]:
    """Return the charge after its hold ended: `voided` or `expired`, or captured if a part had been."""
    assert charge.rail is not None
    fact = ChargeReleased(
        charge_id=charge.id,
        account=charge.account,
        rail=charge.rail,
        amount_minor=charge.amount_minor - charge.amount_captured_minor,
        currency=charge.currency,
    )
    partly = charge.amount_captured_minor > 0
    charge = replace(without_waiting(charge), status=ChargeStatus.CAPTURED if partly else status)
    return charge, (fact,)


def final_decline(charge: Charge, answer: RailAnswer) -> tuple[str, DeclineClass]:
    """Return the code and class a charge ends with after its last answer."""
    if answer.outcome is Outcome.DECLINED:
        assert answer.decline_class is not None
        return answer.decline_code or "declined", answer.decline_class
    assert answer.outcome is Outcome.NOT_ATTEMPTED, answer
    declines = [attempt for attempt in charge.attempts if attempt.outcome is Outcome.DECLINED]
    if declines and declines[-1].decline_class is not None:
        return declines[-1].decline_code or "declined", declines[-1].decline_class
    return "no_rail_available", DeclineClass.TRY_LATER


def rail_request(
    charge: Charge,
    attempt: Attempt,
    *,
    resumed: bool,
    capture: bool = False,
    authentication: dict[str, str] | None = None,
) -> RailRequest:
    """Return the order that an attempt gives to its rail."""
    authorizing = attempt.flow is Flow.AUTHORIZE
    return RailRequest(
        rail=attempt.rail,
        flow=attempt.flow,
        rail_key=attempt.rail_key,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        merchant_id=charge.merchant_id,
        mode=charge.mode,
        source=charge.source if authorizing else None,
        original_rail_key=None if authorizing else charge.winning_attempt().rail_key,
        capture=capture,
        authentication=authentication,
        deadline_seconds=RAIL_DEADLINE_SECONDS,
        resumed=resumed,
    )


def capture_conflict(charge: Charge, amount_minor: int | None) -> UpdateAnswer | None:
    """Return why a capture cannot be made now, or None when it can (semantics rule 15)."""
    if charge.status is not ChargeStatus.AUTHORIZED:
        return conflict_answer(charge, "only an authorized charge can be captured")
    remaining = charge.amount_minor - charge.amount_captured_minor
    if amount_minor is not None and not 0 < amount_minor <= remaining:
        shown = format_amount(remaining, charge.currency)
        return UpdateAnswer(
            document=charge_document(charge),
            conflict_code="exceeds_authorized_amount",
            conflict_detail=f"{shown} are left to capture.",
            remaining_minor=remaining,
        )
    return None


def capture_attempt(charge: Charge, amount_minor: int | None, tag: str) -> Attempt:
    """Return the first attempt of a capture, named by the tag of its idempotency key."""
    remaining = charge.amount_minor - charge.amount_captured_minor
    amount = remaining if amount_minor is None else amount_minor
    return _follow_up(charge, capture_operation(charge.id, tag), Flow.CAPTURE, amount)


def void_attempt(charge: Charge) -> Attempt:
    """Return the first attempt of the charge's void."""
    return _follow_up(charge, void_operation(charge.id), Flow.VOID, charge.amount_minor)


def conflict_answer(charge: Charge, detail: str) -> UpdateAnswer:
    """Return the conflict of an update that the charge's state does not allow."""
    expired = charge.status is ChargeStatus.EXPIRED
    return UpdateAnswer(
        document=charge_document(charge),
        conflict_code="authorization_expired" if expired else "charge_state_conflict",
        conflict_detail=f"The charge is {charge.status}: {detail}.",
        remaining_minor=charge.amount_minor - charge.amount_captured_minor,
    )


def possible_orphan(charge: Charge, *, at: datetime) -> Orphan:
    """Return what the charge's last attempt would be if its rail did it after all."""
    last = charge.attempts[-1]
    return Orphan(
        merchant_id=charge.merchant_id,
        mode=charge.mode,
        charge=charge.id,
        rail=last.rail,
        rail_key=last.rail_key,
        effect_key=last.rail_key,
        flow=last.flow,
        taken=charge.capture,
        amount_minor=last.amount_minor,
        currency=last.currency,
        original_rail_key=last.rail_key,
        created_at=at,
    )


def frictionless(charge: Charge) -> dict[str, str] | None:
    """Return the proof that the merchant authenticated the customer itself, if the charge came with one."""
    given = charge.authentication
    return dict(given) if given is not None and given.get("result") == "success" else None


def given_authentication(charge: Charge) -> dict[str, str] | None:
    """Return what the merchant said about authentication, an exemption for instance, as the rail is told it."""
    return dict(charge.authentication) if charge.authentication is not None else None


def describe(charge: Charge) -> str:
    """Return a line for the Temporal UI: what the charge is and what it waits for."""
    lines = [f"**{charge.status}** {format_amount(charge.amount_minor, charge.currency)} on {charge.rail or 'no rail'}"]
    lines += [
        f"- attempt {one.number} on {one.rail}: {one.outcome} {one.decline_code or ''}" for one in charge.attempts
    ]
    if charge.next_check_at is not None:
        lines.append(f"- the rail is asked again at {charge.next_check_at.isoformat()}")
    if charge.capture_before is not None and charge.status is ChargeStatus.AUTHORIZED:
        lines.append(f"- waits for capture until {charge.capture_before.isoformat()}")
    return "\n".join(lines)


def _follow_up(charge: Charge, operation: str, flow: Flow, amount_minor: int) -> Attempt:
    assert charge.rail is not None
    return Attempt(
        rail_key=rail_key(operation, 1),
        operation_id=operation,
        number=1,
        rail=charge.rail,
        flow=flow,
        amount_minor=amount_minor,
        currency=charge.currency,
        reason=f"{flow} of {charge.id}",
    )
