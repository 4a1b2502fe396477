"""`ledgerline migrate`: the schema of a database, and the search attributes of a Temporal namespace."""

import asyncio
import sys
from typing import Annotated

import psycopg
import typer
from temporalio.service import RPCError

from commands.configured import settings_or_exit
from embedded.temporal import register_search_attributes
from ledger.migrate import migrate as migrate_database
from settings import environment_name

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def migrate(
    app_password: Annotated[str, typer.Option(envvar="LEDGERLINE_APP_PASSWORD", help="Password of ledgerline_app.")],
    api_password: Annotated[str, typer.Option(envvar="LEDGERLINE_API_PASSWORD", help="Password of ledgerline_api.")],
) -> None:
    """Create roles and schema, or bring them up to date; then Temporal's search attributes. Idempotent.

    Uses LEDGERLINE_DATABASE_ADMIN_URL, and LEDGERLINE_TEMPORAL_ADDRESS if that is set. (`ledgerline up`
    does all this by itself.)
    """
    settings = settings_or_exit()
    if settings.database_admin_url is None:
        print(f"{environment_name('database_admin_url')} says which database to migrate; set it.", file=sys.stderr)
        raise typer.Exit(2)
    try:
        migrate_database(settings.database_admin_url, app_password=app_password, api_password=api_password)
        print("schema: up to date")
        if settings.temporal_address is not None:
            asyncio.run(register_search_attributes(settings.temporal_address, settings.temporal_namespace))
            print("search attributes: up to date")
    except (psycopg.OperationalError, RPCError, RuntimeError) as error:
        print(f"Not migrated: {' '.join(str(error).split())}.", file=sys.stderr)
        raise typer.Exit(1) from error
