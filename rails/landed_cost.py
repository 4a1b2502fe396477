"""What a rail really costs: its price list, corrected by what it charged.

Decides how far actual costs are believed. They come from answers that name a fee, later also from
settlement files.
"""

COST_PRIOR_ORDERS = 50.0
"""The price list counts as much as this many orders that cost just what it says."""

FACTOR_MIN, FACTOR_MAX = 0.2, 5.0
"""Beyond these it's not a correction but a price list that is wrong: somebody has to look."""


def cost_factor(*, estimated_minor: float, actual_minor: float, orders: int) -> float:
    """Return actual by estimated cost, shrunk towards 1.

    200 orders estimated at 17,000 that cost 18,700: (50 · 85 + 18,700) / (50 · 85 + 17,000) = 1.08.
    """
    assert estimated_minor > 0.0 and actual_minor >= 0.0 and orders >= 1
    believed = COST_PRIOR_ORDERS * estimated_minor / orders
    return min(FACTOR_MAX, max(FACTOR_MIN, (believed + actual_minor) / (believed + estimated_minor)))
