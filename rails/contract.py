"""The rails contract suite: what any adapter must do, whatever rail stands behind it.

To put an adapter under it, subclass `RailBench` for its rail and parametrise one test with `CONTRACT`
(docs/adding-a-rail.md shows how). The bench breaks things for real, with `faulty_path.py` in front of
the rail where the rail has no faults of its own, and knows the rail's own truth.
"""

import asyncio
import itertools
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailAdapter
from rails.faulty_path import Fault

_NUMBERS = itertools.count(1)
AFTER_SENDING: tuple[Fault, ...] = ("drop_after", "garble", "error500_after")
BEFORE_EFFECT: tuple[Fault, ...] = ("drop_before", "error500")


@dataclass(frozen=True)
class Effect:
    """What the rail itself says it did under one key."""

    outcome: str
    amount: int
    calls: int


class RailBench(ABC):
    """One rail on the bench. Orders of the chosen kind have to end as the method's name says."""

    adapter: RailAdapter

    @abstractmethod
    def first_flow(self) -> Flow:
        """The flow that stands on its own: authorize for cards, payout for others."""

    @abstractmethod
    def order_fields(self, fate: str) -> dict[str, object]:
        """RailRequest fields for the fate approved, declined_hard, declined_soft or lost."""

    @abstractmethod
    def effect(self, rail_key: str) -> Effect | None:
        """The rail's own truth."""

    @abstractmethod
    async def break_next_call(self, kind: Fault) -> None:
        """Break the next order for real."""

    async def heal(self) -> None:
        """Take back what the last order did not use up. A bench whose faults end by themselves has nothing to do."""
        return

    currency = "EUR"
    """What the orders are in; one the rail takes."""

    takes_back_unknown = False
    """Whether asking takes an unanswered order back instead of finding it, as where a protocol has no question."""

    def card(self, request: RailRequest) -> CardDetails | None:
        """The card that goes with an order, where the rail takes no source by name."""
        del request
        return None

    def order(self, fate: str = "approved", **fields: object) -> RailRequest:
        """Return a new order with a rail key of its own."""
        operation = f"op_{next(_NUMBERS)}_{uuid.uuid4().hex[:8]}"
        defaults: dict[str, object] = {
            "rail": self.adapter.profile.name,
            "flow": self.first_flow(),
            "rail_key": f"{operation}:1",
            "amount_minor": 8420,
            "currency": self.currency,
            "merchant_id": "mer_contract",
            "mode": "test",
            "deadline_seconds": 2.0,
        }
        return RailRequest(**{**defaults, **self.order_fields(fate), **fields})  # type: ignore[arg-type]

    async def run(self, request: RailRequest) -> RailAnswer:
        """Give the order to the rail, and heal what was broken for it."""
        try:
            return await self.adapter.execute(request, self.card(request))
        finally:
            await self.heal()

    async def ask(self, request: RailRequest, *, sent_ago_seconds: float = 0.0) -> RailAnswer:
        """Ask what became of an order, as if it had been sent that long ago."""
        return await self.adapter.inquire(
            flow=request.flow,
            rail_key=request.rail_key,
            sent_at=datetime.now(UTC) - timedelta(seconds=sent_ago_seconds),
            deadline_seconds=2.0,
        )


TAKEN = frozenset({Outcome.APPROVED, Outcome.PENDING})


async def _asking_settles(bench: RailBench, request: RailRequest) -> None:
    """Asking finds an order that took effect, or takes it back for good where the rail has no question."""
    answer = await bench.ask(request)
    if not bench.takes_back_unknown:
        assert answer.outcome in TAKEN, answer
        return
    assert answer.outcome is Outcome.DECLINED, answer
    effect = bench.effect(request.rail_key)
    assert effect is not None and effect.outcome == "reversed", effect
    assert (await bench.run(replace(request, resumed=True))).outcome is Outcome.DECLINED


async def an_approved_order_is_carried_out_once(bench: RailBench) -> None:
    """An order is taken, has a reference, and inquiry says the same."""
    request = bench.order()
    answer = await bench.run(request)
    assert answer.outcome in TAKEN and answer.rail_reference
    assert 0 < answer.latency_ms < 2000
    assert (await bench.ask(request)).outcome in TAKEN


async def a_resent_order_is_the_same_order(bench: RailBench) -> None:
    """Telling the rail twice is one order."""
    request = bench.order()
    first = await bench.run(request)
    # A rail that would do it twice is only ever told again by a worker that says so.
    resumed = replace(request, resumed=not bench.adapter.profile.idempotent)
    second = await bench.run(resumed)
    assert (first.outcome, first.rail_reference) == (second.outcome, second.rail_reference)


async def a_declined_order_says_what_is_permitted_next(bench: RailBench) -> None:
    """A decline has its code and its class."""
    for fate, expected in (("declined_hard", DeclineClass.HARD), ("declined_soft", DeclineClass.SOFT)):
        answer = await bench.run(bench.order(fate))
        assert answer.outcome is Outcome.DECLINED
        assert answer.decline_class is expected and answer.decline_code


async def a_refused_connection_is_not_attempted(bench: RailBench) -> None:
    """Nobody there: nothing was done, and the same order may come again."""
    request = bench.order()
    await bench.break_next_call("refuse")
    assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
    assert bench.effect(request.rail_key) is None
    assert (await bench.run(request)).outcome in TAKEN


async def whatever_breaks_after_sending_is_unknown_until_asked(bench: RailBench) -> None:
    """A lost or broken answer proves nothing; inquiry finds the order."""
    for kind in AFTER_SENDING:
        request = bench.order()
        await bench.break_next_call(kind)
        answer = await bench.run(request)
        assert answer.outcome is Outcome.UNKNOWN, (kind, answer)
        await _asking_settles(bench, request)


async def an_order_that_never_arrived_is_unknown_until_the_rail_guarantees_it(bench: RailBench) -> None:
    """Not found is a no only where the rail guarantees it, and then for ever."""
    for kind in BEFORE_EFFECT:
        request = bench.order()
        await bench.break_next_call(kind)
        assert (await bench.run(request)).outcome is Outcome.UNKNOWN
        assert (await bench.ask(request)).outcome is Outcome.UNKNOWN
        horizon = bench.adapter.profile.not_found_final_after_seconds
        settled = await bench.ask(request, sent_ago_seconds=(horizon or 86_400) + 1)
        assert settled.outcome is (Outcome.UNKNOWN if horizon is None else Outcome.NOT_ATTEMPTED)
        if horizon is not None:
            # A zombie's late order under this key must not take effect: the guarantee is for ever.
            assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
        assert bench.effect(request.rail_key) is None


async def a_lost_answer_is_unknown_and_inquiry_tells(bench: RailBench) -> None:
    """No answer in time: unknown at the deadline, and inquiry tells."""
    request = bench.order("lost", deadline_seconds=0.3)
    answer = await bench.run(request)
    assert answer.outcome is Outcome.UNKNOWN
    assert 250 < answer.latency_ms < 1500
    await _asking_settles(bench, request)


async def an_order_given_by_two_workers_is_done_at_most_once(bench: RailBench) -> None:
    """A worker that was thought dead and its heir give one order at once: one effect, and no false no."""
    request = bench.order()
    heir = replace(request, resumed=True)
    answers = await asyncio.gather(*(bench.adapter.execute(one, bench.card(one)) for one in (request, heir)))
    effect = bench.effect(request.rail_key)  # a second effect is an error of its own
    if any(answer.outcome is Outcome.DECLINED for answer in answers):
        assert effect is None or effect.outcome not in ("approved", "pending"), (answers, effect)
    elif any(answer.outcome is Outcome.APPROVED for answer in answers):
        assert effect is not None and effect.outcome not in ("declined", "reversed"), (answers, effect)


async def an_outage_ends_and_nothing_was_done_in_it(bench: RailBench) -> None:
    """Turned away, order after order, then healed: none was done, and all may come again."""
    requests = [bench.order() for _ in range(3)]
    for request in requests:
        await bench.break_next_call("refuse")
        assert (await bench.run(request)).outcome is Outcome.NOT_ATTEMPTED
        assert bench.effect(request.rail_key) is None
    for request in requests:
        assert (await bench.run(request)).outcome in TAKEN


async def an_unsupported_flow_is_a_mistake_of_the_caller(bench: RailBench) -> None:
    """A flow the rail lacks is refused before anything is sent."""
    missing = next(flow for flow in Flow if flow not in bench.adapter.profile.flows)
    try:
        await bench.run(bench.order(flow=missing))
    except ValueError:
        return
    raise AssertionError("an unsupported flow was carried out")


CONTRACT = (
    an_approved_order_is_carried_out_once,
    a_resent_order_is_the_same_order,
    a_declined_order_says_what_is_permitted_next,
    a_refused_connection_is_not_attempted,
    whatever_breaks_after_sending_is_unknown_until_asked,
    an_order_that_never_arrived_is_unknown_until_the_rail_guarantees_it,
    a_lost_answer_is_unknown_and_inquiry_tells,
    an_order_given_by_two_workers_is_done_at_most_once,
    an_outage_ends_and_nothing_was_done_in_it,
    an_unsupported_flow_is_a_mistake_of_the_caller,
)
