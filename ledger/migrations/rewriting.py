"""Changing the schema's functions in place, for revisions that add to what earlier ones defined.

A function is rewritten from what the database holds, not from a copy of the revision that made it:
revisions that touch the same function may run in any order.
"""

from typing import Any

from alembic import op


def run(sql: str) -> None:
    """Execute statements as they stand, with the driver's own cursor: no meaning for % or :name."""
    _driver().execute(sql)


def column(sql: str) -> list[str]:
    """Return the first column of a query's rows as text."""
    return [str(row[0]) for row in _driver().execute(sql).fetchall()]


def replace_in_function(function: str, *changes: tuple[str, str]) -> None:
    """Rewrite a function of the schema; what each change replaces must be there exactly once."""
    (definition,) = column(f"SELECT pg_get_functiondef(oid) FROM pg_proc WHERE {_named(function)}")
    for old, new in changes:
        assert definition.count(old) == 1, f"{function} is not as this revision knows it"
        definition = definition.replace(old, new)
    run(definition)


def insert_before(function: str, anchor: str, text: str) -> None:
    """Put text into a function of the schema, before an anchor that is there exactly once."""
    replace_in_function(function, (anchor, text + anchor))


def signature(function: str, without: str | None = None) -> str:
    """Return `name(types)` of a function; of several, the one that has no argument `without`."""
    condition = f" AND NOT '{without}' = ANY (proargnames)" if without else ""
    (found,) = column(f"SELECT oid::regprocedure::text FROM pg_proc WHERE {_named(function)}{condition}")
    return found


def _named(function: str) -> str:
    return f"proname = '{function}' AND pronamespace = 'public'::regnamespace"


def _driver() -> Any:
    driver_connection = op.get_bind().connection.driver_connection
    assert driver_connection is not None
    return driver_connection
