"""The schema: what the metadata says is what the migrations build, and migrating again changes nothing."""

import psycopg
from sqlalchemy import BigInteger, Boolean, DateTime, Integer, LargeBinary, Numeric, Text
from sqlalchemy.dialects.postgresql import JSONB

from ledger.migrate import migrate
from ledger.schema import metadata
from tests.conftest import TestDatabase

TYPES = {
    Text: "text",
    BigInteger: "bigint",
    Integer: "integer",
    Boolean: "boolean",
    DateTime: "timestamp with time zone",
    JSONB: "jsonb",
    LargeBinary: "bytea",
    Numeric: "numeric",
}

COLUMNS = """
    SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'YES', c.is_generated = 'ALWAYS'
    FROM information_schema.columns c WHERE c.table_schema = 'public' AND c.table_name <> 'alembic_version'
        AND NOT (SELECT r.relispartition FROM pg_class r WHERE r.oid = format('public.%I', c.table_name)::regclass)
"""
KEYS = """
    SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
    JOIN pg_class r ON r.oid = c.conrelid AND NOT r.relispartition
    WHERE c.contype = 'p' AND c.connamespace = 'public'::regnamespace AND c.conrelid <> 'alembic_version'::regclass
"""


def test_metadata_is_what_the_migrations_build(database: TestDatabase) -> None:
    """Every table, column, type, nullability, generated column and primary key."""
    with psycopg.connect(database.admin_url) as connection:
        built = set(connection.execute(COLUMNS).fetchall())
        keys = set(connection.execute(KEYS).fetchall())
    columns = [(table, column) for table in metadata.tables.values() for column in table.columns]
    assert built == {
        (
            table.name,
            column.name,
            TYPES[type(column.type)],
            bool(column.nullable),
            column.computed is not None,
        )
        for table, column in columns
    }
    assert keys == {(table.name, column.name) for table, column in columns if column.primary_key}


def test_every_merchants_table_separates_rows(database: TestDatabase) -> None:
    """A table with a merchant in it has row-level security on and a policy for each role."""
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute(
            "SELECT c.relname, c.relrowsecurity, (SELECT count(*) FROM pg_policies p WHERE p.tablename = c.relname)"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'merchant_id'"
            " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert len(rows) >= 15
    assert [name for name, secured, policies in rows if not secured or policies < 2] == []


def test_migrating_again_changes_nothing_but_passwords(fresh_database: TestDatabase) -> None:
    """Idempotent, and a new password works."""
    with psycopg.connect(fresh_database.admin_url) as connection:
        before = connection.execute(COLUMNS).fetchall()
    passwords = [psycopg.conninfo.conninfo_to_dict(url)["password"] for url in urls(fresh_database)]
    migrate(
        fresh_database.admin_url,
        app_password=str(passwords[0]),
        api_password=str(passwords[1]),
        owner_password=str(passwords[2]),
    )
    with psycopg.connect(fresh_database.admin_url) as connection:
        assert sorted(connection.execute(COLUMNS).fetchall()) == sorted(before)
    for url in urls(fresh_database):
        with psycopg.connect(url) as connection:
            connection.execute("SELECT 1 FROM accounts")


def urls(database: TestDatabase) -> tuple[str, str, str]:
    """Of worker, HTTP reader and owner."""
    return database.app_url, database.api_url, database.owner_url
