"""A small soak in the suite; `make soak` runs the one of 100,000 movements."""

from pathlib import Path

from tests.ledger.soak import HARMS, KILL_POSTGRES, soak


def test_nothing_is_lost_or_doubled_whatever_is_killed(scratch: Path) -> None:
    """Posters and PostgreSQL killed with -9, connections cut after COMMIT was sent."""
    folder = scratch / "soak"
    folder.mkdir(mode=0o711)
    verdict = soak(folder, 1, workers=2, movements=6_000, harms=len(HARMS))
    assert verdict.findings == []
    # A fast machine may be done before the last one.
    assert verdict.harms.total() >= len(HARMS) - 2 and verdict.harms[KILL_POSTGRES] == 1
