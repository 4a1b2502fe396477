"""What every problem document must be."""

from typing import Any

import httpx


def assert_problem(
    answer: httpx.Response, status: int, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Check that an answer is a whole problem document that gives nothing away, and return it."""
    assert answer.status_code == status, f"{answer.status_code} instead of {status}: {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= problem.keys(), problem
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["request-id"]
    assert "Traceback" not in answer.text and 'File "' not in answer.text
    if code is not None:
        assert problem["code"] == code, problem
    if param is not None:
        assert problem.get("param") == param, problem
    return problem
