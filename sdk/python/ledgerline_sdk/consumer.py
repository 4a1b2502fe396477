"""Each event exactly once and in order, out of deliveries that repeat, overtake one another and get lost.

Deliveries are at least once; the cursor makes them exactly once: a sequence at or below it was handled,
the next one is handled, and one further on means that something is missing, which is pulled first.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from ledgerline_sdk.store import CursorStore

Event = dict[str, Any]
Handle = Callable[[Event, Any], None]
"""Called with each event once, and the store's connection inside the transaction that moves the cursor."""

Pull = Callable[[int], Iterable[Event]]
"""Yields the events after a sequence, oldest first: `EventSource.events`."""


class SignatureError(Exception):
    """Not from Ledgerline, changed on the way, or more than 300 seconds off. Answer 400. Not retryable."""


class GapError(Exception):
    """Events are missing and pulling did not bring them; nothing was handled. Answer 500: it is sent again."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a delivery came to: the sequences handled now; `duplicate` when all of it had been handled before."""

    handled: tuple[int, ...]
    duplicate: bool


class WebhookConsumer:
    """Verifies, dedupes, fills gaps, and hands events on. Threads may share one.

    Args:
        secrets: the endpoint's `whsec_…` secrets; two while one is being rotated.
        store: where the cursor is, with the database that `handle` writes to.
        handle: what to do with an event; an error leaves the cursor where it was.
        pull: where missing events come from. Without it a gap is an error.
        event_types: the endpoint's filter if it has one, as exact types: other sequences are passed over.
    """

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        store: CursorStore,
        handle: Handle,
        pull: Pull | None = None,
        event_types: Sequence[str] | None = None,
    ) -> None:
        assert secrets
        self._verifiers = [Webhook(secret) for secret in secrets]
        self._store = store
        self._handle = handle
        self._pull = pull
        self._types = None if event_types is None else frozenset(event_types)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Receipt:
        """Take one delivery. Answer 2xx once this has returned, and only then.

        Raises:
            SignatureError: refuse it. Not retryable.
            GapError: what is missing could not be had. Retryable.
        """
        event = self._verified(headers, body)
        sequence = int(event["sequence"])
        with self._store.transaction() as position:
            cursor = position.read()
            if sequence <= cursor:
                return Receipt((), duplicate=True)
            handled: list[int] = []
            if sequence > cursor + 1:
                handled += self._fill(position, cursor, sequence)
            if position.read() != sequence:
                self._take(position, event, handled)
            return Receipt(tuple(handled), duplicate=False)

    def catch_up(self) -> int:
        """Pull and handle everything after the cursor; return how many. Each event has its own transaction."""
        assert self._pull is not None, "without `pull` there is nowhere to catch up from"
        with self._store.transaction() as position:
            cursor = position.read()
        count = 0
        for event in self._pull(cursor):
            with self._store.transaction() as position:
                if event["sequence"] == position.read() + 1:
                    handled: list[int] = []
                    self._take(position, event, handled)
                    count += len(handled)
        return count

    def _fill(self, position: Any, cursor: int, sequence: int) -> list[int]:
        """Handle what lies between the cursor and a sequence, which is pulled."""
        handled: list[int] = []
        for event in self._pull(cursor) if self._pull is not None else ():
            if event["sequence"] >= sequence:
                break
            if event["sequence"] != position.read() + 1:
                raise GapError(f"after {position.read()} came {event['sequence']}")
            self._take(position, event, handled)
        if position.read() != sequence - 1:
            raise GapError(f"events {position.read() + 1} to {sequence - 1} are missing")
        return handled

    def _take(self, position: Any, event: Event, handled: list[int]) -> None:
        sequence = int(event["sequence"])
        if self._types is None or event["type"] in self._types:
            self._handle(event, position.connection)
            handled.append(sequence)
        position.move(sequence)

    def _verified(self, headers: Mapping[str, str], body: bytes) -> Event:
        for verifier in self._verifiers:
            try:
                verifier.verify(body, dict(headers), json_parse=False)
            except (WebhookVerificationError, ValueError):
                continue
            event: Event = json.loads(body)
            return event
        raise SignatureError("no signature of this delivery fits")
