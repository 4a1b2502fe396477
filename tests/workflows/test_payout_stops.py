"""A stop of payouts holds them back without a guess: nothing is refused for good, nothing is sent twice."""

from tests.replay.stop_scenarios import payout_stopped_before_it_started, payout_stopped_in_transit
from tests.workflows.conftest import World


async def test_a_payout_that_meets_a_stop_waits_with_its_money_at_home(world: World) -> None:
    handle = await payout_stopped_before_it_started(world)
    document = await handle.result()
    assert (document["status"], document["held_by"], document["next_check_at"]) == ("paid", None, None)
    assert world.book.facts() == ["payout_started", "payout_paid"]
    held, *later = world.book.postings.values()
    assert held.records[0].document["held_by"] == "payouts_stopped" and held.facts == ()
    assert held.claim is not None, "the key belongs to the payout while it waits"
    assert [posting.key for posting in later][-1] == "po_1:6"
    assert [order.rail_key for order in world.rails.orders] == ["po_1:1"]


async def test_a_payout_in_transit_gives_the_same_order_once_the_stop_is_lifted(world: World) -> None:
    handle = await payout_stopped_in_transit(world)
    document = await handle.result()
    assert (document["status"], document["held_by"]) == ("paid", None)
    assert world.book.facts() == ["payout_started", "payout_paid"]
    assert [order.rail_key for order in world.rails.orders] == ["po_1:1", "po_1:1"]
    assert document["rail"] == "alpha", "a stop is no reason for another rail"
