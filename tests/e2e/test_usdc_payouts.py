"""USDC payouts through the API while the chain misbehaves: each is paid once, and the chain's books are ours."""

from pathlib import Path

from tests.e2e.usdc_storm import storm, usdc_stage


def test_payouts_survive_a_reorganization_a_stuck_nonce_and_a_fee_spike(scratch: Path) -> None:
    with usdc_stage(scratch / "usdc") as stage:
        report = storm(stage, 10)
    assert report.findings == []
    assert report.statuses == {"paid": 10}
    assert len(report.done) == 4
