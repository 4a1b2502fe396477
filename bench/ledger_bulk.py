"""A long history written straight into the tables: what the poster would have written, without waiting for it.

Only for measuring what reading costs over very many entries; the proof of the books afterwards tells whether
it is a right history.
"""

from typing import Any

import psycopg

from bench.closed_loop import Say

CHUNK_MOVEMENTS = 250_000

# Every fifth movement credits the hot account. Remainders of primes: the same history each time.
_CHUNK = """
    WITH clock AS MATERIALIZED (
        SELECT last_movement_id AS before, last_ledger_transaction_id AS transactions_before,
            greatest(last_recorded_at, clock_timestamp()) AS since FROM ledger_clock
    ), numbered AS MATERIALIZED (
        SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM accounts WHERE code = ANY (%(codes)s)
    ), made AS MATERIALIZED (
        SELECT i, before + i AS id, transactions_before + i AS transaction, since + i * interval '2 us' AS recorded_at,
            1 + i * 31 %% 499 AS amount, 'bulk:' || lpad((before + i)::text, 12, '0') AS key,
            1 + i * 7919 %% (%(accounts)s - 1) AS debit,
            CASE WHEN i %% 5 = 0 THEN 0 ELSE 1 + (i * 7919 + 1 + i %% 97) %% (%(accounts)s - 1) END AS credit
        FROM clock, generate_series(1, %(movements)s::bigint) i
    ), moved AS MATERIALIZED (
        SELECT m.*, d.id AS debit_id, c.id AS credit_id
        FROM made m JOIN numbered d ON d.place = m.debit JOIN numbered c ON c.place = m.credit
    ), transactions AS (
        INSERT INTO ledger_transactions (id, key, merchant_id, mode, reference, recorded_at, fingerprint)
        SELECT transaction, key, %(merchant)s, 'test', key, recorded_at, '\\x00' FROM moved ORDER BY i
    ), keys AS (
        INSERT INTO movement_keys (key, movement_id, amount_minor, fingerprint)
        SELECT key, id, amount, '\\x00' FROM moved ORDER BY i
    ), movements AS (
        INSERT INTO movements (id, key, ledger_transaction_id, debit_account_id, credit_account_id, amount_minor,
            currency, kind, reference, phase, recorded_at, effective_at)
        SELECT id, key, transaction, debit_id, credit_id, amount, 'EUR', 'bench', key, 'post', recorded_at, recorded_at
        FROM moved ORDER BY i
    ), legs AS MATERIALIZED (
        SELECT 2 * m.id - 1 + leg AS id, m.id AS movement_id, m.recorded_at, m.amount, leg,
            CASE leg WHEN 0 THEN debit_id ELSE credit_id END AS account_id,
            CASE leg WHEN 0 THEN -amount ELSE amount END AS signed
        FROM moved m, generate_series(0, 1) leg
    ), run AS MATERIALIZED (
        SELECT l.*, a.balance_minor + sum(l.signed) OVER w AS balance, a.version + row_number() OVER w AS sequence
        FROM legs l JOIN accounts a ON a.id = l.account_id WINDOW w AS (PARTITION BY l.account_id ORDER BY l.id)
    ), entries AS (
        INSERT INTO entries (id, movement_id, account_id, sequence, direction, amount_minor, balance_minor, recorded_at,
            effective_at)
        SELECT id, movement_id, account_id, sequence, CASE leg WHEN 0 THEN 'debit' ELSE 'credit' END, amount, balance,
            recorded_at, recorded_at
        FROM run ORDER BY id
    ), last AS (
        SELECT DISTINCT ON (account_id) account_id, balance, sequence, recorded_at FROM run ORDER BY account_id, id DESC
    ), accounts_now AS (
        UPDATE accounts a SET balance_minor = l.balance, version = l.sequence, last_recorded_at = l.recorded_at
        FROM last l WHERE a.id = l.account_id
    )
    UPDATE ledger_clock SET last_movement_id = last_movement_id + %(movements)s,
        last_ledger_transaction_id = last_ledger_transaction_id + %(movements)s,
        last_recorded_at = (SELECT max(recorded_at) FROM moved)
"""


async def write_history(
    connection: psycopg.AsyncConnection[Any], merchant_id: str, codes: list[str], movements: int, say: Say
) -> None:
    """Write so many movements between accounts with plenty of money; the first is the hot one.

    As a superuser, in autocommit, while nobody posts.
    """
    given = {"codes": codes, "accounts": len(codes), "merchant": merchant_id}
    for done in range(0, movements, CHUNK_MOVEMENTS):
        await connection.execute(_CHUNK.encode(), given | {"movements": min(CHUNK_MOVEMENTS, movements - done)})
        say(f"{done + min(CHUNK_MOVEMENTS, movements - done)} of {movements} movements written")
