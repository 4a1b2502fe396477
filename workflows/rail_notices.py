"""What rails told a running workflow: heard at any time, in any order, as often as the rail likes."""

from dataclasses import dataclass

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.rail import DEFINITE_OUTCOMES, RailAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class RailNews:
    """A rail's notice about one order. Without a definite answer it only says that asking is worth while."""

    rail_key: str
    event_id: str
    answer: RailAnswer | None = None


class RailMailbox:
    """Notices of one workflow's orders, by rail key. The first definite answer stands; repeats change nothing."""

    def __init__(self) -> None:
        self._answers: dict[str, RailAnswer] = {}
        self._seen: set[str] = set()
        self._worth_asking: set[str] = set()

    def put(self, news: RailNews) -> None:
        """Take in a notice. Idempotent on its event id."""
        if news.event_id in self._seen:
            return
        self._seen.add(news.event_id)
        if news.answer is not None and news.answer.outcome in DEFINITE_OUTCOMES:
            self._answers.setdefault(news.rail_key, news.answer)
        else:
            self._worth_asking.add(news.rail_key)

    def answer(self, rail_key: str) -> RailAnswer | None:
        """Return what a notice proved about an order."""
        return self._answers.get(rail_key)

    def worth_asking(self, rail_key: str) -> bool:
        """Tell whether there is news of an order that the rail has not been asked about."""
        return rail_key in self._worth_asking

    def asked(self, rail_key: str) -> None:
        """Forget news of an order before the rail is asked; what comes later is news again."""
        self._worth_asking.discard(rail_key)


class HearsRails:
    """What a workflow that gives orders inherits: the signal by which the rail's notices reach it."""

    _mailbox: RailMailbox

    @workflow.signal(name="rail_told")
    def rail_told(self, news: RailNews) -> None:
        """Take in a rail's notice; whoever waits for this order wakes up."""
        self._mailbox.put(news)
