"""The board of outcomes: everybody who waits is told, nobody who stopped waiting is kept."""

import asyncio

from domain.outcomes import OutcomeBoard, is_outcome


async def test_everyone_who_waits_is_told_once() -> None:
    board = OutcomeBoard()
    waiting = [board.expect("w") for _ in range(3)]
    board.announce("w", {"status": "settled"})
    assert await asyncio.gather(*waiting) == [{"status": "settled"}] * 3
    board.announce("w", {"status": "later"})
    assert waiting[0].result() == {"status": "settled"}


async def test_who_stopped_waiting_is_forgotten() -> None:
    board = OutcomeBoard()
    future = board.expect("w")
    board.forget("w", future)
    board.announce("w", {})
    assert not future.done()


def test_what_is_worth_an_answer() -> None:
    assert not is_outcome({"status": "processing"})
    assert is_outcome({"status": "processing", "next_check_at": "soon"})
    assert is_outcome({"status": "unknown"})
