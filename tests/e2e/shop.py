"""A merchant's client, as plain as one can be: HTTP, a key, polling with a deadline. No SDK, no retries."""

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx

Document = dict[str, Any]
POLL_SECONDS = 0.1
OUTCOME_SECONDS_MAX = 45.0

_numbers = itertools.count(1)
_RUN = secrets.token_hex(4)


def fresh_key(name: str = "key") -> str:
    """An idempotency key nobody has used on this instance."""
    return f"{name}_{_RUN}_{next(_numbers)}"


class Shop:
    """One merchant against one instance."""

    def __init__(self, api_url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=api_url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def post(self, path: str, body: Any = None, *, key: str | None = None, **extra: Any) -> httpx.Response:
        """POST with an idempotency key (a fresh one if none is given)."""
        headers = {"Idempotency-Key": key if key is not None else fresh_key()}
        return self._http.post(f"/v1{path}", json={} if body is None else body, headers=headers, **extra)

    def send(self, method: str, path: str, **extra: Any) -> httpx.Response:
        """Any request, exactly as given."""
        return self._http.request(method, path, **extra)

    def get(self, path: str, **parameters: Any) -> Document:
        """The document at a path, which must be there."""
        answer = self._http.get(f"/v1{path}", params=parameters)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        document: Document = answer.json()
        return document

    def every(self, path: str, **parameters: Any) -> list[Document]:
        """All objects of a list, page by page."""
        found: list[Document] = []
        after: Document = {}
        while True:
            page = self.get(path, limit=100, **parameters, **after)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"starting_after": page["data"][-1]["id"]}

    def events(self) -> list[Document]:
        """All events of the merchant, oldest first."""
        found: list[Document] = []
        while True:
            page = self.get("/events", limit=100, after=found[-1]["sequence"] if found else 0)
            found += page["data"]
            if not page["has_more"]:
                return found

    def charge(self, source: str, amount: int = 8420, *, key: str | None = None, **fields: Any) -> httpx.Response:
        """A charge in EUR on `auto`, captured, unless told otherwise."""
        body = {"amount": amount, "currency": "EUR", "source": source, "rail": "auto", "capture": True, **fields}
        return self.post("/charges", body, key=key)

    def account(self, *, funds: int = 0, currency: str = "EUR") -> str:
        """A new account of the merchant with `funds` minor units on it."""
        opened = self.post("/accounts", {"currency": currency, "name": "Test account"})
        assert opened.status_code == 201, opened.text
        account = str(opened.json()["id"])
        if funds:
            funded = self.post(f"/accounts/{account}/fund", {"amount": funds})
            assert funded.status_code == 201, funded.text
        return account

    def posted(self, account: str) -> int:
        """An account's posted balance now, in minor units; 0 while it does not exist."""
        answer = self._http.get(f"/v1/accounts/{account}/balance")
        if answer.status_code == 404:
            return 0
        assert answer.status_code == 200, answer.text
        return int(answer.json()["posted"])

    def own_account(self, currency: str = "EUR") -> str:
        """The account a charge in this currency credits when none is named."""
        charge = self.charge("tok_declined_hard", currency=currency).json()["charge"]
        return str(charge["account"])

    def balances(self) -> dict[str, tuple[int, int, int, int]]:
        """Posted, pending and available of every account of the merchant."""
        found = {}
        for account in self.every("/accounts"):
            balance = self.get(f"/accounts/{account['id']}/balance")
            found[account["id"]] = (
                balance["posted"],
                balance["pending_debits"],
                balance["pending_credits"],
                balance["available"],
            )
        return found

    def await_status(self, path: str, *statuses: str, seconds: float = OUTCOME_SECONDS_MAX) -> Document:
        """The document once its status is one of `statuses`."""
        deadline = time.monotonic() + seconds
        while (document := self.get(path))["status"] not in statuses:
            assert time.monotonic() < deadline, f"{path} is {document['status']}, not {statuses} in {seconds:g} s"
            time.sleep(POLL_SECONDS)
        return document

    def await_list(
        self, path: str, wanted: Callable[[Document], bool], *, seconds: float, **parameters: Any
    ) -> list[Document]:
        """What is wanted of a list, once there is any."""
        deadline = time.monotonic() + seconds
        while not (found := [one for one in self.every(path, **parameters) if wanted(one)]):
            assert time.monotonic() < deadline, f"nothing such in {path} within {seconds:g} s"
            time.sleep(POLL_SECONDS)
        return found


class World:
    """The rails' side: what they really did, and faults on demand."""

    def __init__(self, rails_url: str) -> None:
        self._http = httpx.Client(base_url=rails_url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def truth(self) -> Document:
        """All of `GET /truth`."""
        answer = self._http.get("/truth")
        assert answer.status_code == 200
        document: Document = answer.json()
        return document

    def operations_of(self, object_id: str) -> list[Document]:
        """What the rails did for one object, its captures and its void, oldest first."""
        return [row for row in self.truth()["operations"] if object_of(row["rail_key"]) == object_id]

    def inject(self, **fault: Any) -> None:
        """Make a rail misbehave (`POST /faults`)."""
        answer = self._http.post("/faults", json=fault)
        assert answer.status_code == 201, answer.text

    def heal(self) -> None:
        """End all faults."""
        assert self._http.delete("/faults").status_code == 200


def object_of(rail_key: str) -> str:
    """The object an order was given for: `ch_1.capture2:1` is about `ch_1`."""
    return rail_key.split(":", 1)[0].split(".", 1)[0]


def assert_problem(answer: httpx.Response, status: int, code: str | None = None, param: str | None = None) -> Document:
    """Check that an answer is a whole problem document without a stack trace, and return it."""
    assert answer.status_code == status, f"{answer.status_code} instead of {status}: {answer.text[:500]}"
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    problem: Document = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= problem.keys(), problem
    assert problem["status"] == status
    assert "Traceback" not in answer.text and 'File "' not in answer.text
    if code is not None:
        assert problem["code"] == code, problem
    if param is not None:
        assert problem["param"] == param, problem
    return problem
