"""`ledgerline risk train`: train the risk model on generated traffic."""

from pathlib import Path
from typing import Annotated

import typer

from risk.train import ROWS, SEED
from risk.train import train as train_model
from settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def risk() -> None:
    """The risk model."""


@app.command()
def train(
    folder: Annotated[Path | None, typer.Option(help="Where model and card go; default where they are read.")] = None,
    rows: Annotated[int, typer.Option(min=2000, help="Generated card payments.")] = ROWS,
    seed: Annotated[int, typer.Option(help="The same seed and rows give the same model.")] = SEED,
) -> None:
    """Train on generated card traffic, write the model and its card, print how well it does."""
    target = folder or Settings().risk_model_path
    print(f"generating {rows} payments and training (about ten seconds) …", flush=True)
    card = train_model(target, rows=rows, seed=seed)
    print(f"model      {card.version} in {target}")
    print(f"held out   AUC {card.auc:.3f}, average precision {card.average_precision:.3f}, Brier {card.brier:.4f}")
    print(f"stepped up {card.ordinary_stepped_up_share:.2%} of ordinary payments")
