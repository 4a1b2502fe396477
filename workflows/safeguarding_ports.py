"""Effects of safeguarding. Names are wire contracts (`ports.py`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from temporalio import activity


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeguardDay:
    """A day to reconcile (YYYY-MM-DD, where the fixed time is kept) and the instant that its fixed time is."""

    day: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeguardingDue:
    """The days that are due, oldest first, so that a break is carried from day to day."""

    days: tuple[SafeguardDay, ...] = ()


class SafeguardingPort(ABC):
    """Reconciling. Each is idempotent: what is done is not done or told again."""

    @abstractmethod
    @activity.defn(name="safeguarding_due")
    async def safeguarding_due(self) -> SafeguardingDue:
        """Return the days to reconcile; what an earlier run left undone about breaks and alerts is done.

        Lost connections are retryable errors.
        """

    @abstractmethod
    @activity.defn(name="reconcile_safeguarding")
    async def reconcile_safeguarding(self, day: SafeguardDay) -> int:
        """Reconcile a day; return how many reconciliations (one a mode and currency) it has.

        Costs a look-up for each account of the book. Lost connections are retryable errors.
        """
