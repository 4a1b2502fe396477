"""The simulated clients: they send their stories, retry with the same key, and write down every answer.

They complain when an answer contradicts an earlier one to the same key. They know the API only.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.simulation.stories import Body, Manners, Step, Story

Document = dict[str, Any]
CLIENTS = 8
ANSWER_SECONDS_MAX = 100.0
SETTLE_SECONDS_MAX = 100.0
PAUSE_SECONDS = 0.2
OBJECTS = ("charge", "refund", "payout", "transfer")
OPEN_STATUSES = frozenset({"processing", "unknown", "pending"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One final answer to a keyed request; `document` is the object it was about, if any."""

    key: str
    path: str
    body: Body
    status: int
    code: str | None
    document: Document | None


@dataclass(slots=True)
class Notebook:
    """What all clients were told. `documents`: the last seen state of every object, by id."""

    answers: list[Answer] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    retries: int = 0
    manners: Counter[str] = field(default_factory=Counter)
    done: int = 0

    def note(self, document: Document) -> None:
        """Keep an object's state; later news never goes back to an earlier version of a final state."""
        self.documents[document["id"]] = document


class NoAnswer(Exception):
    """The budget of retries is spent."""


class Client:
    """One merchant's connection; `address` is asked anew for every request, as it moves with a restart."""

    def __init__(
        self, address: Callable[[], str], key: str, notebook: Notebook, *, patience_seconds: float = ANSWER_SECONDS_MAX
    ) -> None:
        self._address = address
        self._patience_seconds = patience_seconds
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(20, connect=2),
            limits=httpx.Limits(max_connections=CLIENTS * 4),
            trust_env=False,
        )
        self._notebook = notebook

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def get(self, path: str, **parameters: Any) -> Document:
        """Return a document, however often it takes."""
        answer = await self._insist(lambda: self._http.get(self._url(path), params=parameters), path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        document: Document = answer.json()
        return document

    async def every(self, path: str, **parameters: Any) -> list[Document]:
        """Return all of a list, page by page."""
        found: list[Document] = []
        after: Document = {}
        while True:
            page = await self.get(path, limit=100, **parameters, **after)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"starting_after": page["data"][-1]["id"]}

    async def post(self, path: str, body: Body, key: str) -> Answer:
        """Send a keyed request until it has a final answer, and write that down.

        Raises:
            NoAnswer: nothing final within the budget.
        """
        headers = {"Idempotency-Key": key}
        answer = await self._insist(
            lambda: self._http.post(self._url(path), json=body, headers=headers), f"{path} {key}"
        )
        content: Document = answer.json()
        document = (
            content
            if content.get("object") in OBJECTS
            else next((content[name] for name in OBJECTS if name in content), None)
        )
        told = Answer(
            key=key, path=path, body=body, status=answer.status_code, code=content.get("code"), document=document
        )
        self._notebook.answers.append(told)
        if document is not None:
            self._notebook.note(document)
        return told

    async def hang_up(self, path: str, body: Body, key: str, patience_seconds: float) -> None:
        """Send a keyed request and close the connection before the answer can be trusted to be there."""
        try:
            async with asyncio.timeout(patience_seconds):
                await self._http.post(self._url(path), json=body, headers={"Idempotency-Key": key})
        except TimeoutError:
            self._notebook.manners["hung up before the answer"] += 1
        except httpx.TransportError:
            return

    async def settle(self, path: str, document: Document, *, seconds: float) -> Document:
        """Return the object once it is no longer open, or as it stands at the deadline."""
        deadline = time.monotonic() + seconds
        while document["status"] in OPEN_STATUSES and time.monotonic() < deadline:
            await asyncio.sleep(PAUSE_SECONDS)
            document = await self.get(f"{path}/{document['id']}")
            self._notebook.note(document)
        return document

    def _url(self, path: str) -> str:
        return f"{self._address()}/v1{path}"

    async def _insist(self, send: Callable[[], Any], what: str) -> httpx.Response:
        deadline = time.monotonic() + self._patience_seconds
        last: object = None
        while time.monotonic() < deadline:
            try:
                answer: httpx.Response = await send()
            except httpx.TransportError as error:
                last = repr(error)
            else:
                if not _try_again(answer):
                    return answer
                last = f"{answer.status_code} {answer.text[:300]}"
                if answer.status_code == 500:
                    self._notebook.complaints.append(f"{what} was answered {last}")
            self._notebook.retries += 1
            await asyncio.sleep(PAUSE_SECONDS)
        raise NoAnswer(f"{what}: no answer in {self._patience_seconds:g} s, last {last}")


def _try_again(answer: httpx.Response) -> bool:
    """Tell whether an answer asks to be asked again with the same key."""
    try:
        content = answer.json()
    except json.JSONDecodeError:
        return True
    if answer.status_code == 404 and answer.request.method == "GET":
        # Told as still running before it was committed: not to be found yet.
        return True
    if answer.status_code >= 500:
        return not any(name in content for name in OBJECTS)
    if answer.status_code == 202:
        # An update that is still waiting shows the charge as it stood; its own end is asked for, unless that is
        # a person's to find: the rail is asked once a day then.
        waits = any(verb in str(answer.request.url) for verb in ("/capture", "/void", "/authenticate"))
        return waits and not _is_for_a_person(content)
    return answer.status_code == 409 and content.get("code") == "idempotency_key_in_use"


def _is_for_a_person(charge: Document) -> bool:
    next_check_at = charge.get("next_check_at")
    return next_check_at is not None and datetime.fromisoformat(next_check_at) > datetime.now(UTC) + timedelta(hours=1)


class Crowd:
    """All clients, on a thread and an event loop of their own; the main thread is the chaos."""

    def __init__(self, address: Callable[[], str], key: str, stories: list[Story]) -> None:
        self.notebook = Notebook()
        self.operations = sum(len(story.steps) for story in stories)
        self._address, self._key = address, key
        self._stories = list(reversed(stories))
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)

    def start(self) -> None:
        """Send the clients off."""
        self._thread.start()

    def is_busy(self) -> bool:
        """Tell whether any client still has a story to tell."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._all_clients())
        except Exception as error:
            self.notebook.complaints.append(f"the crowd broke up: {error!r}")

    async def _all_clients(self) -> None:
        client = Client(self._address, self._key, self.notebook)
        await asyncio.gather(*(self._one_client(client) for _ in range(CLIENTS)))
        await client.close()

    async def _one_client(self, client: Client) -> None:
        while self._stories:
            story = self._stories.pop()
            try:
                await StoryTeller(client, self.notebook, story).run()
            except NoAnswer as failure:
                self.notebook.complaints.append(f"{story.kind}: {failure}")
            self.notebook.done += len(story.steps)


class StoryTeller:
    """One story on its way."""

    def __init__(self, client: Client, notebook: Notebook, story: Story) -> None:
        self._client = client
        self._notebook = notebook
        self._story = story
        self._object: Document | None = None

    async def run(self) -> None:
        """Take the steps in order, those that belong together at once."""
        together: list[Step] = []
        for step in self._story.steps:
            together.append(step)
            if step.with_next:
                continue
            if self._object is not None:
                await self._refresh()
            answers = await asyncio.gather(*(self._take(one) for one in together))
            if len(together) > 1 and [answer.status for answer in answers if answer is not None].count(200) > 1:
                self._notebook.complaints.append(f"{self._story.kind}: both sides of a race won: {answers}")
            together = []

    async def _refresh(self) -> None:
        assert self._object is not None
        collection = self._story.steps[0].path
        settled = await self._client.settle(collection, self._object, seconds=SETTLE_SECONDS_MAX)
        self._object = await self._client.get(f"{collection}/{settled['id']}")

    async def _take(self, step: Step) -> Answer | None:
        if step.when is not None and (self._object is None or self._object["status"] not in step.when):
            return None
        object_id = self._object["id"] if self._object else ""
        path = step.path.replace("{id}", object_id)
        body = {name: object_id if value == "{id}" else value for name, value in step.body.items()}
        if step.manners is Manners.IMPATIENT:
            await self._client.hang_up(path, body, step.key, step.patience_seconds)
        times = 3 if step.manners is Manners.TWICE else 1
        if times > 1:
            self._notebook.manners["sent three times at once"] += 1
        answers = list(await asyncio.gather(*(self._client.post(path, body, step.key) for _ in range(times))))
        if step.manners is Manners.FORGETFUL:
            self._notebook.manners["asked again after the answer"] += 1
            answers.append(await self._client.post(path, body, step.key))
        self._compare(step, answers)
        if step.manners is Manners.FICKLE:
            await self._change_mind(step, path, body, answers[0])
        if self._object is None:
            self._object = answers[0].document
        return answers[0]

    def _compare(self, step: Step, answers: list[Answer]) -> None:
        told = {(answer.document or {}).get("id") for answer in answers}
        if len(told) > 1:
            self._notebook.complaints.append(f"{step.key} made several objects: {told}")

    async def _change_mind(self, step: Step, path: str, body: Body, first: Answer) -> None:
        if first.document is None or first.code == "idempotency_key_reused":
            return  # Refused before anything ran: such a key is not taken.
        if first.status == 409:
            return  # A conflict of state is told without claiming the key.
        other = await self._client.post(path, {**body, "amount": body["amount"] + 1}, step.key)
        self._notebook.manners["changed the body under the same key"] += 1
        if (other.status, other.code) != (422, "idempotency_key_reused"):
            self._notebook.complaints.append(f"{step.key} with another amount was answered {other}")
