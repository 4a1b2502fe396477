"""Every type of event there is: one table, from which the OpenAPI document's `webhooks` are made.

A test holds every type the code emits against it. A type's name and the meaning of its object's fields
never change; fields may be added. What would change a meaning gets a new `schema_version`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type of event. `object` is the kind of `data.object`; `meaning` one sentence for people."""

    name: str
    object: str
    meaning: str
    schema_version: int = 1


def _types(kind: str, **meanings: str) -> tuple[EventType, ...]:
    return tuple(EventType(name=f"{kind}.{verb}", object=kind, meaning=text) for verb, text in meanings.items())


EVENT_TYPES: tuple[EventType, ...] = (
    *_types(
        "account",
        created="An account was opened.",
        updated="An account's name, limits or status were changed.",
    ),
    *_types(
        "charge",
        created="A charge was assessed and routed, and is about to be sent to its first rail.",
        authorized="The money of a charge is reserved and waits for its capture.",
        captured="The money of a charge was taken and is not final yet, or a part of it was captured.",
        settled="The money of a charge is final.",
        fee_adjusted="The actual fee of a settled charge became known; `settlements` holds the difference.",
        declined="A charge was declined; `decline_code` says why.",
        requires_action="The customer must authenticate; `next_action` says where.",
        unknown="A rail did not say what became of a charge; it is asked until it does.",
        voided="An authorization was given up before its capture.",
        expired="An authorization ended without capture.",
    ),
    EventType(
        name="charge.orphan_detected",
        object="exception",
        meaning="A rail took or promised money for a charge that had ended without it; it is being given back.",
    ),
    EventType(name="charge.orphan_reversed", object="exception", meaning="An orphan of a charge was given back."),
    *_types(
        "refund",
        pending="A refund is on its way, or waits for funds (`pending_reason`), and is not final yet.",
        succeeded="The money of a refund is with the customer.",
        failed="A refund failed, perhaps days later; the money is back on the merchant's account.",
        fee_returned="The part of a charge's fee that is back with its refunds changed; `fee_returned` is this one's.",
        unknown="A rail did not say what became of a refund; it is asked until it does.",
    ),
    *_types(
        "payout",
        processing="The money of a payout has left the account and is on its way.",
        paid="A payout has arrived.",
        failed="A payout failed; the money is back on its account.",
        returned="A payout came back after it had arrived; the money is back on its account.",
        unknown="A rail did not say what became of a payout; it is asked until it does.",
    ),
    *_types(
        "transfer",
        pending="The money of a transfer in two phases is set aside.",
        posted="A part of a pending transfer was posted, and the rest is still set aside.",
        settled="A transfer is done.",
        voided="A pending transfer was given up and its money released.",
        expired="A pending transfer ran out of time and its money was released.",
        failed="A transfer was refused; nothing moved.",
    ),
    *_types(
        "dispute",
        created="A cardholder's bank asks about a charge, or took its money back; `kind` says which.",
        updated="Evidence was kept, or the time for it went by.",
        escalated="An inquiry has become a chargeback: the money was taken now.",
        evidence_submitted="The rail has the merchant's evidence.",
        evidence_refused="The rail did not take the evidence.",
        won="The bank decided for the merchant: the money is back.",
        lost="The bank decided against the merchant, or no evidence came in time: the money stays away.",
        closed="An inquiry ended without a chargeback; nothing had moved.",
    ),
    *_types(
        "exception",
        opened="Something does not fit and a person must look at it.",
        resolved="An exception is closed; `resolution` says by whom, how and why.",
    ),
    *_types(
        "fx_quote",
        created="A rate is kept for one transfer.",
        used="A quote was used by its transfer.",
    ),
    *_types("pricing_policy", updated="What the merchant pays was changed."),
    *_types("refund_policy", updated="What a refund does when the balance is too low was changed."),
    *_types("risk_policy", updated="The merchant's risk policy was changed."),
    *_types("routing_policy", updated="The merchant's routing policy was changed."),
    *_types(
        "webhook_endpoint",
        created="A webhook endpoint was added; the first event it is sent.",
        updated="A webhook endpoint was changed.",
        secret_rotated="A webhook endpoint has a new signing secret; the old one still signs until it expires.",
        disabled="A webhook endpoint is not sent to any more; `disabled_reason` says why.",
        deleted="A webhook endpoint was removed.",
    ),
)

EVENT_TYPE_NAMES = frozenset(one.name for one in EVENT_TYPES)
SCHEMA_VERSIONS = {one.name: one.schema_version for one in EVENT_TYPES}
