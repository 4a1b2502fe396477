"""Schemathesis, all checks on, against the running API: nothing undocumented, nothing off its schema, no 5xx."""

from pathlib import Path

import pytest

from tests.e2e.instance import LedgerlineInstance
from tests.openapi.probe import probe


@pytest.mark.timeout(600)
def test_every_answer_is_as_documented(instance: LedgerlineInstance, scratch: Path) -> None:
    """Every boundary of every operation, as a merchant; `python -m tests.openapi` draws many more at random."""
    ended = probe(instance.sandbox, scratch, seed=1, examples=2, phases="examples,coverage")
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert "No issues found" in ended.stdout, ended.stdout
