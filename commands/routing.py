"""`ledgerline routing`: what another routing policy would have done with past traffic."""

import sys
from collections.abc import Iterator
from typing import Annotated

import psycopg
import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from commands.configured import running_instance, settings_or_exit
from domain.rail import RouteOption
from rails.backtest import Expectation, PastOrder, expect
from rails.routing import DEFAULT_WEIGHTS, RoutingWeights
from settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_OPTIONS: TypeAdapter[tuple[RouteOption, ...]] = TypeAdapter(tuple[RouteOption, ...])
_PLANS = """
SELECT (document ->> 'amount')::bigint, internal -> 'assessed' -> 'charge' -> 'route' FROM charges
WHERE created_at > clock_timestamp() - make_interval(days => %(days)s)
  AND (%(merchant)s::text IS NULL OR merchant_id = %(merchant)s)
  AND document ->> 'currency' = %(currency)s AND jsonb_array_length(internal -> 'assessed' -> 'charge' -> 'route') > 1
"""


@app.callback()
def routing() -> None:
    """What another routing policy would have done with past traffic."""


@app.command()
def backtest(
    cost: Annotated[float, typer.Option(min=0, help="What a minor unit of cost weighs.")] = DEFAULT_WEIGHTS.cost,
    approval: Annotated[
        float, typer.Option(min=0, help="Share of the amount that an approval is worth.")
    ] = DEFAULT_WEIGHTS.approval,
    speed: Annotated[float, typer.Option(min=0, help="Minor units a second sooner is worth.")] = DEFAULT_WEIGHTS.speed,
    currency: Annotated[str, typer.Option(help="Charges in this currency.")] = "EUR",
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's, mer_…")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far back.")] = 30,
) -> None:
    """Rank past charges anew under other weights, by the odds and costs known when they were made. Changes nothing."""
    settings = settings_or_exit()
    changed = RoutingWeights(cost=cost, approval=approval, speed=speed)
    orders = list(_past_orders(settings, currency=currency, merchant=merchant, days=days))
    if not orders:
        print(f"No charges in {currency} of the last {days} days had a choice of rails.", file=sys.stderr)
        raise typer.Exit(1)
    table = Table("policy", "charges", "expected approval", "cost a charge", "settled after", "first choices")
    table.add_row("default weights", *_shown(expect(orders, DEFAULT_WEIGHTS)))
    table.add_row(f"cost {cost:g}, approval {approval:g}, speed {speed:g}", *_shown(expect(orders, changed)))
    Console(soft_wrap=True).print(table)
    print("Expected by what was known at the time, of first attempts only; what would have happened nobody knows.")


def _past_orders(settings: Settings, *, currency: str, merchant: str | None, days: int) -> Iterator[PastOrder]:
    url = settings.database_url or running_instance(settings)["database_url"]
    parameters = {"currency": currency, "merchant": merchant, "days": days}
    try:
        with psycopg.connect(url) as connection, connection.cursor("plans") as cursor:
            for amount_minor, route in cursor.execute(_PLANS, parameters):
                yield PastOrder(amount_minor=amount_minor, options=_OPTIONS.validate_python(route))
    except psycopg.OperationalError as error:
        print(f"The database cannot be reached: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def _shown(expected: Expectation) -> tuple[str, ...]:
    return (
        str(expected.orders),
        f"{expected.approval_rate:.2%}",
        f"{expected.cost_minor:.1f}",
        f"{expected.settlement_seconds / 3600:.1f} h",
        ", ".join(f"{rail} {count / expected.orders:.0%}" for rail, count in expected.first_choices.items()),
    )
