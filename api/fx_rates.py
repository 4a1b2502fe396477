"""Mid rates from a JSON file: whoever runs the installation puts a new one in its place, nothing is restarted.

Decides what such a file must hold and when its rates are too old. Rates are text in it, never numbers:
a JSON number would be a float in between. Shape: `sandbox_fx_rates.json` beside this module.
"""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domain.fx import RatesUnavailableError, RateTable, parse_rate
from domain.money import is_currency

SANDBOX_RATES = Path(__file__).parent / "sandbox_fx_rates.json"
"""Invented rates, good in test mode only."""

_log = logging.getLogger(__name__)


class RateFile:
    """Implements `domain.fx.RateSource` over one file, read again when it changes."""

    def __init__(self, path: Path = SANDBOX_RATES, *, age_max: timedelta = timedelta(hours=48)) -> None:
        """Make a source that has not read yet. Rates older than `age_max` are not quoted (sandbox rates never age)."""
        self._path = path
        self._age_max = age_max
        self._seen: tuple[int, int, int] | None = None
        self._table: RateTable | None = None

    def read(self) -> RateTable:
        """Return the rates of the file.

        Raises:
            RatesUnavailableError: the file is missing, is not what it should be, or its rates are too old.
                Retryable, once somebody has put a good one there.
        """
        try:
            state = self._path.stat()
            seen = (state.st_mtime_ns, state.st_ino, state.st_size)
            if self._table is None or seen != self._seen:
                self._table = parse_rates(self._path.read_text(encoding="utf-8"))
                self._seen = seen
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # No falling back to the rates read before: whoever replaced the file meant to.
            self._table = None
            _log.error("no FX rates from %s: %s", self._path, error)
            raise RatesUnavailableError("the file of rates cannot be read") from error
        if not self._table.sandbox and datetime.now(UTC) - self._table.as_of > self._age_max:
            raise RatesUnavailableError("the rates are too old")
        return self._table


def parse_rates(text: str) -> RateTable:
    """Return the table of rates that a JSON text holds.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not such a table. Not retryable.
    """
    document = json.loads(text, parse_float=_refuse_number, parse_int=_refuse_number, parse_constant=_refuse_number)
    rates, base, as_of = document["rates"], document["base"], datetime.fromisoformat(document["as_of"])
    unknown = [currency for currency in (base, *rates) if not is_currency(currency)]
    if unknown or base in rates:
        raise ValueError(f"not a currency, or the base itself: {unknown or base}")
    if as_of.tzinfo is None or not document["source"] or not isinstance(document["source"], str):
        raise ValueError("`as_of` needs an offset, `source` is a text")
    return RateTable(
        source=document["source"],
        as_of=as_of,
        sandbox=_flag(document["sandbox"]),
        base=base,
        per_base={currency: parse_rate(rate) for currency, rate in rates.items()},
    )


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("`sandbox` is true or false")
    return value


def _refuse_number(text: str) -> float:
    raise ValueError(f"rates are text, not the number {text}")
