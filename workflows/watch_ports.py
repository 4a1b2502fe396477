"""Effects of the invariant watch, and the one question it makes others ask. Names are wire contracts (`ports.py`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from temporalio import activity


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksWatched:
    """What the watch's workflow does next; what was found is in the database.

    `proof_due`: the whole book should be proved now. `alerts_due`: somebody has not been told yet.
    """

    pause_seconds: float
    proof_due: bool = False
    alerts_due: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskStop:
    """A currency whose payouts may be stopped."""

    currency: str


class WatchPort(ABC):
    """Looking at the books. Each run is idempotent: what is known is not noted or told again."""

    @abstractmethod
    @activity.defn(name="watch_books")
    async def watch_books(self) -> BooksWatched:
        """Verify what is new, and stop payouts where it is wrong. Lost connections are retryable errors."""

    @abstractmethod
    @activity.defn(name="prove_books")
    async def prove_books(self) -> bool:
        """Prove the whole book, and stop payouts where it is wrong; return whether it is in order.

        Costs in proportion to the book. Lost connections are retryable errors.
        """

    @abstractmethod
    @activity.defn(name="deliver_alerts")
    async def deliver_alerts(self) -> int:
        """Tell every receiver what it was not told yet; return how many messages were sent.

        Raises:
            AlertNotDeliveredError: a receiver didn't take one; the others were told. Retryable.
        """


class StopPort(ABC):
    """Whether payouts are stopped."""

    @abstractmethod
    @activity.defn(name="payouts_stopped")
    async def payouts_stopped(self, request: AskStop) -> bool:
        """Tell whether payouts of a currency are stopped now. Reads only."""
