"""`ledgerline api`: the API with a worker in the same process."""

import typer

from api.serve import main
from commands.configured import settings_or_exit

app = typer.Typer()


@app.command()
def api() -> None:
    """Serve the API and run workflows until SIGTERM; everything it needs must run already."""
    main(settings_or_exit())
