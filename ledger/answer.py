"""How the answer of `post_batch` becomes the results of its postings. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from domain.identifiers import public_account_id
from domain.ledger import Movement, PostedEntry, PostingResult, Refusal, RefusalCode
from ledger.batch import Batch, Prepared

_public_id = lru_cache(maxsize=10_000)(public_account_id)

REFUSED, POSTED, POSTED_EARLIER = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of `post_batch`: statuses by posting, moves by movement, balances by leg, the rest by name."""

    statuses: Sequence[int]
    now: datetime
    ledger_transaction: int
    movement: int
    moves: Sequence[int] | None
    balances: Sequence[int] | None
    rest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What was read back of a posting's objects, by id."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)


def results_of(batch: Batch, answer: Answer) -> list[PostingResult]:
    """Return the results of a batch, in its order."""
    stored: dict[int, _Stored] = {}
    for n, object_id, document, version in answer.rest["documents"]:
        of_posting = stored.setdefault(n, _Stored())
        of_posting.documents[object_id], of_posting.versions[object_id] = document, version
    return [_result(batch, answer, n, item, stored.get(n, _Stored())) for n, item in enumerate(batch.prepared, 1)]


def entry_id(number: int) -> str:
    """Return an entry's public id, as `entry_id` in SQL does: `le_` and 16 digits, sorting by time."""
    return f"le_{number:016d}"


def ledger_transaction_id(number: int) -> str:
    """Return a ledger transaction's public id."""
    return f"lt_{number:016d}"


def _result(batch: Batch, answer: Answer, n: int, item: Prepared, stored: _Stored) -> PostingResult:
    status = answer.statuses[n - 1]
    if status == REFUSED:
        refusal = refusal_of(answer.rest["refusals"][str(n)])
        return PostingResult(refusal=refusal, documents=stored.documents, versions=stored.versions)
    documents = {record.id: stored.documents.get(record.id, record.document) for record in item.posting.records}
    if status == POSTED_EARLIER:
        earlier = answer.rest["earlier"][str(n)]
        return PostingResult(
            duplicate=True,
            ledger_transaction_id=ledger_transaction_id(earlier["ledger_transaction"]),
            recorded_at=datetime.fromisoformat(earlier["recorded_at"]),
            entries=tuple(_stored_entry(entry) for entry in earlier["entries"]),
            documents=documents,
        )
    end = batch.last[n - 1]
    first = end - len(item.movements) + 1
    entries: list[PostedEntry] = []
    for position, movement in enumerate(item.movements, first):
        entries += _entries(answer, position, movement)
    return PostingResult(
        ledger_transaction_id=ledger_transaction_id(answer.ledger_transaction + n),
        recorded_at=answer.now + timedelta(microseconds=n + end),
        entries=tuple(entries),
        documents=documents,
    )


def refusal_of(members: dict[str, Any]) -> Refusal:
    """Return a refusal as the functions in SQL state it."""
    account, object_id = members.get("account"), members.get("object_id")
    return Refusal(
        code=RefusalCode(members["code"]),
        detail=members["detail"],
        account=public_account_id(account) if account else None,
        object_id=public_account_id(object_id) if object_id and members["code"] == "already_exists" else object_id,
        remaining_minor=members.get("remaining_minor"),
    )


def _stored_entry(entry: dict[str, Any]) -> PostedEntry:
    return PostedEntry(
        id=entry_id(entry["number"]),
        account=public_account_id(entry["account"]),
        direction=entry["direction"],
        amount_minor=entry["amount"],
        balance_minor=entry["balance"],
    )


def _entries(answer: Answer, position: int, movement: Movement) -> tuple[PostedEntry, ...]:
    assert answer.moves is not None and answer.balances is not None
    if answer.moves[position - 1] == 0:
        return ()
    number = 2 * (answer.movement + position)
    return (
        PostedEntry(
            id=entry_id(number - 1),
            account=_public_id(movement.debit_account),
            direction="debit",
            amount_minor=movement.amount_minor,
            balance_minor=answer.balances[2 * position - 2],
        ),
        PostedEntry(
            id=entry_id(number),
            account=_public_id(movement.credit_account),
            direction="credit",
            amount_minor=movement.amount_minor,
            balance_minor=answer.balances[2 * position - 1],
        ),
    )
