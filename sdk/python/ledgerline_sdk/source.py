"""Pulling events over the API, with nothing but the standard library."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]
PAGE_EVENTS = 100


class EventSource:
    """One merchant's events in one mode, by its API key."""

    def __init__(self, api_url: str, key: str, *, timeout_seconds: float = 60.0) -> None:
        assert api_url.startswith(("http://", "https://"))
        self._api_url = api_url.rstrip("/")
        self._key = key
        self._timeout_seconds = timeout_seconds

    def page(self, after: int, *, limit: int = PAGE_EVENTS, wait_seconds: float = 0) -> list[Event]:
        """Return events after a sequence, oldest first; wait up to so many seconds (30 at most) for the first one.

        Raises:
            OSError: the API does not answer, or refuses the key. Retryable.
        """
        query = urllib.parse.urlencode({"after": after, "limit": limit, "wait": wait_seconds})
        request = urllib.request.Request(
            f"{self._api_url}/v1/events?{query}", headers={"Authorization": f"Bearer {self._key}"}
        )
        with urllib.request.urlopen(request, timeout=self._timeout_seconds) as answer:
            page: list[Event] = json.loads(answer.read())["data"]
        return page

    def events(self, after: int) -> Iterator[Event]:
        """Yield every event there is after a sequence."""
        while page := self.page(after):
            yield from page
            after = page[-1]["sequence"]
