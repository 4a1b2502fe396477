"""One Stripe account over HTTP: calls with its key and version, and finding what was made under a key of ours.

Decides how an order whose answer was lost is found again. What it means is the adapter's.
"""

import time
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import quote, urlencode

import httpx

from domain.rail import Outcome, RailAnswer
from rails.adapters.stripe.wire import (
    API_VERSION,
    Document,
    GarbledAnswerError,
    encode_form,
    rail_key_of,
    read_document,
    read_page,
)
from rails.exchange import Reply, exchange

Lookup = Literal["search", "list"]
"""How an order is found: by Stripe's search (a minute behind), or by reading a list (complete, and long)."""

PAGE = 100


class StripeAccount:
    """An account's calls. Failures come back as the answers they amount to; nothing is raised.

    `until` is a moment of `time.monotonic()`: all the calls of one order share its deadline.
    """

    def __init__(self, client: httpx.AsyncClient, *, api_key: str, lookup: Lookup) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {api_key}", "Stripe-Version": API_VERSION}
        self._lookup = lookup

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._client.aclose()

    async def post(self, path: str, fields: dict[str, Any], *, key: str, until: float) -> Reply | RailAnswer:
        """Send an order under its idempotency key."""
        headers = {
            **self._headers,
            "Content-Type": "application/x-www-form-urlencoded",
            "Idempotency-Key": key,
        }
        return await exchange(
            self._client, "POST", path, deadline_seconds=_left(until), headers=headers, body=encode_form(fields)
        )

    async def get(self, path: str, *, until: float) -> Reply | RailAnswer:
        """Ask; a question that failed says nothing, whatever the failure."""
        reply = await exchange(self._client, "GET", path, deadline_seconds=_left(until), headers=self._headers)
        if isinstance(reply, RailAnswer):
            detail = f"inquiry failed: {reply.detail}"
            return RailAnswer(outcome=Outcome.UNKNOWN, latency_ms=reply.latency_ms, detail=detail)
        if reply.status != 200:
            return reply.silence(Outcome.UNKNOWN, f"inquiry answered {reply.status}")
        return reply

    async def find(self, collection: str, rail_key: str, *, made_after: float, until: float) -> Document | RailAnswer:
        """Return the one object of a collection that was made under a key of ours; UNKNOWN if none is seen.

        `made_after`, Unix seconds: a list that begins with the newest is read no further back than that.
        """
        if self._lookup == "list":
            return await self._find_in_list(collection, rail_key, made_after, until)
        query = urlencode({"query": f'metadata["rail_key"]:"{rail_key}"', "limit": 2})
        reply = await self.get(f"{collection}/search?{query}", until=until)
        if isinstance(reply, RailAnswer):
            return reply
        try:
            found, _ = read_page(reply.body)
        except GarbledAnswerError as error:
            return reply.silence(Outcome.UNKNOWN, str(error))
        mine = [one for one in found if rail_key_of(one) == rail_key]
        return mine[0] if mine else reply.silence(Outcome.UNKNOWN, "not known to Stripe (yet)")

    async def read(self, path: str, *, until: float) -> Document | RailAnswer:
        """Return an object; UNKNOWN if it can't be read now."""
        reply = await self.get(path, until=until)
        if isinstance(reply, RailAnswer):
            return reply
        try:
            return read_document(reply.body)
        except GarbledAnswerError as error:
            return reply.silence(Outcome.UNKNOWN, str(error))

    async def refunds_of(
        self, refund_field: str, authorization_id: str, *, until: float
    ) -> list[Document] | RailAnswer:
        """Return every refund of one authorization; UNKNOWN if they can't be read now."""
        path = f"/v1/refunds?{refund_field}={quote(authorization_id, safe='')}"
        refunds: list[Document] = []
        async for page in self._pages(path, until):
            if isinstance(page, RailAnswer):
                return page
            refunds.extend(page)
        return refunds

    async def _find_in_list(
        self, collection: str, rail_key: str, made_after: float, until: float
    ) -> Document | RailAnswer:
        async for page in self._pages(f"{collection}?", until):
            if isinstance(page, RailAnswer):
                return page
            for one in page:
                if rail_key_of(one) == rail_key:
                    return one
            times = [one.get("created", 0) for one in page]
            if times and times[0] > times[-1] and times[0] < made_after:
                break  # newest first, and from here on all is older than the order
        return RailAnswer(outcome=Outcome.UNKNOWN, detail="not known to Stripe (yet)")

    async def _pages(self, path: str, until: float) -> AsyncIterator[list[Document] | RailAnswer]:
        more, after = True, ""
        while more:
            if time.monotonic() >= until:
                yield RailAnswer(outcome=Outcome.UNKNOWN, detail="the list is longer than the deadline")
                return
            reply = await self.get(f"{path}&limit={PAGE}{after}", until=until)
            if isinstance(reply, RailAnswer):
                yield reply
                return
            try:
                page, more = read_page(reply.body)
            except GarbledAnswerError as error:
                yield reply.silence(Outcome.UNKNOWN, str(error))
                return
            yield page
            more = more and bool(page)
            if more:
                after = f"&starting_after={quote(str(page[-1].get('id', '')), safe='')}"


def _left(until: float) -> float:
    # Something, so that a call that is late already is answered as every late one is.
    return max(0.01, until - time.monotonic())
