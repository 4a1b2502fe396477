"""How postings travel to `post_batch` in one batch. No I/O (see `ledger.answer` for the way back).

Decides the encoding only. What a posting needs is encoded when it is handed in (so a malformed one
fails alone, in its caller); a batch then only joins what was prepared.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from psycopg.types.json import Jsonb

from domain.canonical import audit_content, content_hash
from domain.identifiers import Mode, new_identifier
from domain.ledger import (
    AccountOpening,
    Movement,
    Phase,
    Posting,
    Record,
    RecordKind,
)
from ledger.arrays import boolean_array, bytea_array, instant_array, int4_array, int8_array, text_array
from ledger.chart import opening_of
from ledger.posting_rules import movements_of

Sign = Callable[[bytes], tuple[str, bytes]]
"""Takes a content hash, returns the key's id and the signature."""

_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_PHASES = {Phase.POST: 1, Phase.HOLD: 2, Phase.POST_HOLD: 3, Phase.POST_HOLD_FINAL: 4, Phase.VOID_HOLD: 5}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A posting encoded as far as it can be alone. The texts are JSON objects without their `{"n":…,`.

    `ruled`: the movements that follow from facts; their accounts may be opened on first use.
    `openings`: with whether the account must be new.
    """

    posting: Posting
    movements: tuple[Movement, ...]
    ruled: tuple[Movement, ...]
    fingerprint: bytes
    fingerprints: tuple[bytes, ...]
    openings: tuple[tuple[AccountOpening, bool], ...]
    records: tuple[str, ...]
    events: tuple[tuple[int, str], ...]
    audit: str
    claim: str | None
    guard: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Postings in the order they are decided, and the parameters of `post_batch`."""

    prepared: Sequence[Prepared]
    codes: list[str]
    last: list[int]
    parameters: tuple[Any, ...]


def prepare(posting: Posting, sign: Sign | None) -> Prepared:
    """Return a posting ready to travel: facts turned into movements, everything else into JSON.

    Raises:
        ValueError: something in it can't be stored (NaN, a NUL character, a lone surrogate). Not retryable.
    """
    ruled = _ruled_movements(posting)
    movements = posting.movements + ruled
    fingerprints = tuple(_fingerprint(movement) for movement in movements)
    return Prepared(
        posting=posting,
        movements=movements,
        ruled=ruled,
        fingerprint=_posting_fingerprint(posting, movements, fingerprints),
        fingerprints=fingerprints,
        openings=_stated_openings(posting),
        records=tuple(_record_text(record) for record in posting.records),
        events=tuple(
            (
                next(position for position, record in enumerate(posting.records) if record.id == event.object_id),
                _text(id=new_identifier("evt"), type=event.type, object_id=event.object_id, version=event.version),
            )
            for event in posting.events
        ),
        audit=_audit_text(posting, sign),
        claim=_claim_text(posting),
        guard=_guard_text(posting),
    )


def make_batch(prepared: Sequence[Prepared], known_codes: set[str]) -> Batch:
    """Return the call for these postings, decided in this order. `known_codes`: accounts known to be open."""
    movements = [(n, movement) for n, item in enumerate(prepared, 1) for movement in item.movements]
    openings = [
        (n, opening, must_be_new)
        for n, item in enumerate(prepared, 1)
        for opening, must_be_new in _new_openings(item, known_codes)
    ]
    codes = sorted(
        {code for _, movement in movements for code in (movement.debit_account, movement.credit_account)}
        | {opening.code for _, opening, _ in openings}
    )
    account = {code: position for position, code in enumerate(codes, 1)}
    holds: dict[str, int] = {}
    last = list(accumulate(len(item.movements) for item in prepared))
    by_movement = _movement_parameters(movements, account, holds)
    parameters = (
        text_array([item.posting.key for item in prepared]),
        text_array([item.posting.merchant_id for item in prepared]),
        text_array([item.posting.mode.value for item in prepared]),
        text_array([item.posting.audit.object_id for item in prepared]),
        bytea_array([item.fingerprint for item in prepared]),
        int4_array(last),
        text_array(codes),
        text_array(list(holds)),
        *by_movement,
        bytea_array([fingerprint for item in prepared for fingerprint in item.fingerprints]),
        _rest(prepared, [(n, account[opening.code], opening, must_be_new) for n, opening, must_be_new in openings]),
    )
    return Batch(prepared=prepared, codes=codes, last=last, parameters=parameters)


def _new_openings(item: Prepared, known_codes: set[str]) -> Iterator[tuple[AccountOpening, bool]]:
    yield from (
        (opening, must_be_new)
        for opening, must_be_new in item.openings
        if must_be_new or opening.code not in known_codes
    )
    posting, stated = item.posting, {opening.code for opening, _ in item.openings}
    for movement in item.ruled:
        for code in (movement.debit_account, movement.credit_account):
            if code not in known_codes and code not in stated:
                opening = opening_of(code, movement.currency, merchant_id=posting.merchant_id, mode=posting.mode)
                if opening is not None:
                    yield opening, False


def _movement_parameters(
    movements: Sequence[tuple[int, Movement]], account: dict[str, int], holds: dict[str, int]
) -> tuple[Any, ...]:
    """Return the arrays by movement, and fill `holds`: the position of each hold made or acted on."""
    first: dict[str, int] = {}
    hold_of = []
    for position, (_, movement) in enumerate(movements, 1):
        first.setdefault(movement.key, position)
        key = movement.key if movement.phase is Phase.HOLD else movement.hold_key
        hold_of.append(holds.setdefault(key, len(holds) + 1) if key else 0)
    return (
        int4_array([n for n, _ in movements]),
        text_array([movement.key for _, movement in movements]),
        int4_array([first[movement.key] for _, movement in movements]),
        int4_array([account[movement.debit_account] for _, movement in movements]),
        int4_array([account[movement.credit_account] for _, movement in movements]),
        int8_array([movement.amount_minor for _, movement in movements]),
        text_array([movement.currency for _, movement in movements]),
        text_array([movement.kind for _, movement in movements]),
        text_array([movement.reference for _, movement in movements]),
        int4_array([_PHASES[movement.phase] for _, movement in movements]),
        int4_array(hold_of),
        instant_array([movement.effective_at for _, movement in movements]),
        boolean_array([movement.past_limits for _, movement in movements]),
    )


def _rest(prepared: Sequence[Prepared], openings: Sequence[tuple[int, int, AccountOpening, bool]]) -> Jsonb:
    events: list[str] = []
    records: list[str] = []
    claims: list[str] = []
    first_record: dict[tuple[RecordKind, str], int] = {}
    first_claim: dict[tuple[str, Mode, str], int] = {}
    for n, item in enumerate(prepared, 1):
        posting = item.posting
        events.extend(f'{{"n":{n},"record":{len(records) + position + 1},{text}' for position, text in item.events)
        for record, text in zip(posting.records, item.records, strict=True):
            first = first_record.setdefault((record.kind, record.id), len(records) + 1)
            records.append(f'{{"n":{n},"first":{first},{text}')
        if posting.claim is not None:
            key = (posting.merchant_id, posting.mode, posting.claim.key)
            first = first_claim.setdefault(key, len(claims) + 1)
            claims.append(f'{{"n":{n},"first":{first},{item.claim}')
    parts = {
        "audit": [f'{{"n":{n},{item.audit}' for n, item in enumerate(prepared, 1)],
        "claims": claims,
        "guards": [f'{{"n":{n},{item.guard}' for n, item in enumerate(prepared, 1) if item.guard],
        "openings": [
            f'{{"n":{n},"account":{position},{_opening_text(opening, must_be_new)}'
            for n, position, opening, must_be_new in openings
        ],
        "records": records,
        "events": events,
        "floors": list(_floors(prepared)),
    }
    return Jsonb("{" + ",".join(f'"{name}":[{",".join(texts)}]' for name, texts in parts.items() if texts) + "}", str)


def _floors(prepared: Sequence[Prepared]) -> Iterator[str]:
    movements = (movement for item in prepared for movement in item.movements)
    for position, movement in enumerate(movements, 1):
        if movement.floor_minor is not None:
            yield f'{{"movement":{position},"least":{movement.floor_minor}}}'


def _ruled_movements(posting: Posting) -> tuple[Movement, ...]:
    stated = {movement.key for movement in posting.movements}
    return tuple(
        movement
        for fact in posting.facts
        for movement in movements_of(fact, merchant_id=posting.merchant_id, mode=posting.mode)
        if movement.key not in stated
    )


def _stated_openings(posting: Posting) -> tuple[tuple[AccountOpening, bool], ...]:
    records = [record for record in posting.records if record.kind is RecordKind.ACCOUNT]
    return tuple((opening, False) for opening in posting.accounts) + tuple(
        (_opening_of_record(record, posting), record.create_only) for record in records
    )


def _opening_of_record(record: Record, posting: Posting) -> AccountOpening:
    document = record.document
    return AccountOpening(
        code=document["code"],
        currency=document["currency"],
        kind=document["kind"],
        name=document.get("name"),
        merchant_id=posting.merchant_id,
        mode=posting.mode,
        min_balance_minor=document.get("min_balance"),
        max_balance_minor=document.get("max_balance"),
    )


def _opening_text(opening: AccountOpening, must_be_new: bool) -> str:
    return _text(
        create=must_be_new,
        currency=opening.currency,
        kind=opening.kind,
        name=opening.name,
        merchant_id=opening.merchant_id,
        mode=opening.mode.value if isinstance(opening.mode, Mode) else opening.mode,
        min=opening.min_balance_minor,
        max=opening.max_balance_minor,
    )


def _record_text(record: Record) -> str:
    return _text(
        kind=record.kind.value,
        id=record.id,
        version=record.version,
        # Whether an account is new is decided by its opening.
        create=record.create_only and record.kind is not RecordKind.ACCOUNT,
        document=record.document,
        internal=record.internal,
    )


def _claim_text(posting: Posting) -> str | None:
    claim = posting.claim
    if claim is None:
        return None
    return _text(
        key=claim.key,
        fingerprint=claim.fingerprint,
        route=claim.route,
        request=claim.request,
        object_kind=claim.object_kind,
        object_id=claim.object_id,
        workflow_id=claim.workflow_id,
    )


def _guard_text(posting: Posting) -> str | None:
    guard = posting.refund_guard
    if guard is None:
        return None
    return _text(charge=guard.charge_id, refund=guard.refund_id, amount=guard.amount_minor)


def _audit_text(posting: Posting, sign: Sign | None) -> str:
    draft = posting.audit
    hashed = content_hash(
        audit_content(
            actor=draft.actor,
            action=draft.action,
            object_id=draft.object_id,
            merchant_id=posting.merchant_id,
            mode=posting.mode.value,
            details=draft.details,
            posting_key=posting.key,
        )
    )
    key_id, signature = sign(hashed) if sign is not None else (None, None)
    return _text(
        actor=draft.actor,
        action=draft.action,
        object_id=draft.object_id,
        details=draft.details,
        content_hash=hashed.hex(),
        key_id=key_id,
        signature=signature.hex() if signature is not None else None,
    )


def _text(**members: Any) -> str:
    written = _ENCODE(members)
    written.encode()  # A lone surrogate fails here, in its own caller, not with everybody's batch.
    return written[1:]


def _fingerprint(movement: Movement) -> bytes:
    facts = (
        movement.debit_account,
        movement.credit_account,
        movement.currency,
        movement.kind,
        movement.reference,
        movement.phase.value,
        movement.hold_key or "",
        movement.effective_at.isoformat() if movement.effective_at else "",
        "past limits" if movement.past_limits else "",
    )
    return hashlib.sha256("\x1f".join(facts).encode()).digest()[:16]


def _posting_fingerprint(posting: Posting, movements: tuple[Movement, ...], fingerprints: tuple[bytes, ...]) -> bytes:
    """Return what a repetition under the same key must agree in: money moved, versions and statuses.

    Not the whole content: a run repeated after a crash measures other latencies and means the same.
    """
    said = [f"{record.kind.value} {record.id} {record.version} {_status(record)}" for record in posting.records]
    said += [f"{movement.key} {movement.amount_minor}" for movement in movements]
    if posting.claim is not None:
        # Two updates of one object start alike but for the key they are asked under.
        said.append(f"{posting.claim.key} {posting.claim.fingerprint}")
    return hashlib.sha256("\x1f".join(said).encode() + b"".join(fingerprints)).digest()[:16]


def _status(record: Record) -> str:
    return str(record.document.get("status") or record.document.get("outcome"))
