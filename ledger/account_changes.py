"""Changing an account's terms: decided and written under the ledger's turn, around `post_batch`.

The posting carries the event, the audit record and the key's claim; the terms are written in the same
transaction, so none of them is ever there without the others.
"""

from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from domain.ledger import AccountChange, PostingResult
from ledger.answer import POSTED, Answer, refusal_of, results_of
from ledger.batch import Batch

_REFUSE = "SELECT refuse_account_change(%s, %s)"
_CHANGE = "SELECT change_account(%s)"


async def post_account_change(connection: AsyncConnection, batch: Batch, *, take_turn: str, post: str) -> PostingResult:
    """Commit a batch of one posting that changes an account, or return why not.

    Idempotent on the posting's key: a repetition changes nothing. `take_turn` and `post` are the
    poster's own statements.

    Raises:
        psycopg.Error: nothing was committed, or it is not known; look again under the same key. Retryable.
    """
    (prepared,) = batch.prepared
    change = prepared.posting.account_change
    assert change is not None
    terms = Jsonb(_terms(change))
    try:
        await connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        await connection.execute(take_turn.encode())
        refusal = await _one(connection, _REFUSE, (prepared.posting.key, terms))
        if refusal is not None and refusal[0] is not None:
            await connection.rollback()
            return PostingResult(refusal=refusal_of(refusal[0]))
        cursor = await connection.execute(post.encode(), batch.parameters, prepare=True, binary=True)
        row = await cursor.fetchone()
        assert row is not None
        answer = Answer(*row)
        if answer.statuses[0] == POSTED:
            await connection.execute(_CHANGE.encode(), (terms,))
        await connection.execute("COMMIT")
    except psycopg.Error:
        if not connection.broken:
            await connection.rollback()
        raise
    return results_of(batch, answer)[0]


def _terms(change: AccountChange) -> dict[str, Any]:
    return {
        "code": change.code,
        "version": change.version,
        "status": change.status,
        "name": change.name,
        "min": change.min_balance_minor,
        "max": change.max_balance_minor,
    }


async def _one(connection: AsyncConnection, query: str, parameters: tuple[Any, ...]) -> tuple[Any, ...] | None:
    cursor = await connection.execute(query.encode(), parameters)
    row: tuple[Any, ...] | None = await cursor.fetchone()
    return row
