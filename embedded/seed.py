"""What a sandbox has from its first minute: a merchant, its keys, two funded accounts. Idempotent."""

import hashlib
import json
import urllib.error
import urllib.request
from typing import Any

import psycopg

from embedded.processes import StartFailure

SANDBOX_MERCHANT = "mer_sandbox"
DEMO_ACCOUNTS = ("acct_user_8f3c", "acct_merch_a21")
DEMO_CURRENCY = "EUR"
DEMO_FUNDS_MINOR = 1_000_000


def seed_keys(admin_url: str, *, test_key: str, admin_key: str) -> None:
    """Enter the sandbox merchant and the hashes of its keys; does nothing where they are already there."""
    with psycopg.connect(admin_url) as connection:
        connection.execute(
            "INSERT INTO merchants (id, name, created_at) VALUES (%s, 'Sandbox', now()) ON CONFLICT DO NOTHING",
            (SANDBOX_MERCHANT,),
        )
        _enter_key(connection, "key_sandbox_test", SANDBOX_MERCHANT, test_key)
        _enter_key(connection, "key_sandbox_admin", None, admin_key)


def enter_admin_key(admin_url: str, key_id: str, key: str) -> None:
    """Enter the hash of an admin key directly into the database: how the first one comes to be."""
    with psycopg.connect(admin_url) as connection:
        _enter_key(connection, key_id, None, key)


def _enter_key(connection: psycopg.Connection, key_id: str, merchant: str | None, key: str) -> None:
    connection.execute(
        "INSERT INTO api_keys (id, merchant_id, mode, kind, key_hash, last4, created_at) "
        "VALUES (%s, %s, 'test', %s, %s, %s, now()) "
        "ON CONFLICT (id) DO UPDATE SET key_hash = excluded.key_hash, last4 = excluded.last4",
        (key_id, merchant, "secret" if merchant else "admin", hashlib.sha256(key.encode()).digest(), key[-4:]),
    )


def seed_accounts(api_url: str, test_key: str) -> None:
    """Open and fund the demo accounts over the API; the idempotency keys make a second time change nothing.

    Raises:
        StartFailure: the API refused. Not retryable.
    """
    for account in DEMO_ACCOUNTS:
        opening = {"id": account, "currency": DEMO_CURRENCY, "name": "Demo account"}
        _post(api_url, "/v1/accounts", opening, test_key, f"seed_open_{account}")
        fund = {"amount": DEMO_FUNDS_MINOR}
        _post(api_url, f"/v1/accounts/{account}/fund", fund, test_key, f"seed_fund_{account}")


def _post(api_url: str, path: str, body: dict[str, Any], key: str, idempotency_key: str) -> None:
    request = urllib.request.Request(
        api_url + path,
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key,
        },
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:300]
        raise StartFailure(f"The sandbox could not be seeded: POST {path} answered {error.code} {said}") from error
    except OSError as error:
        raise StartFailure(f"The sandbox could not be seeded: POST {path} failed ({error}).") from error
