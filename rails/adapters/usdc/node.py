"""JSON-RPC to one EVM node, with proof of what was sent: a question that failed is not a question refused."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import httpx

from domain.rail import Outcome, RailAnswer
from rails.exchange import exchange

_NUMBERS = itertools.count(1)


class NodeSilentError(Exception):
    """The node gave no believable answer; `silence` says whether the question can have reached it. Retryable."""

    def __init__(self, method: str, silence: RailAnswer) -> None:
        super().__init__(f"{method}: {silence.detail}")
        self.silence = silence


class NodeRefusalError(Exception):
    """The node answered with a JSON-RPC error; `message` has a revert's reason. Not retryable as it stands."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message}")
        self.code = code
        self.message = message


class EvmNode:
    """One node. Connections are pooled; close once."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, method: str, parameters: Sequence[Any], *, deadline_seconds: float) -> Any:
        """Return the result of one call.

        Raises:
            NodeSilentError: no answer, or one that cannot be believed. Retryable where the call is.
            NodeRefusalError: the node said no. Not retryable.
        """
        number = next(_NUMBERS)
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)}
        reply = await exchange(
            self._client,
            "POST",
            "",
            deadline_seconds=deadline_seconds,
            headers={"Content-Type": "application/json"},
            body=json.dumps(call, separators=(",", ":")).encode(),
        )
        if isinstance(reply, RailAnswer):
            raise NodeSilentError(method, reply)
        try:
            answer = json.loads(reply.body)
            answered = answer["id"] == number and ("result" in answer or "error" in answer)
        except (ValueError, TypeError, KeyError):
            answered = False
        if not answered:
            raise NodeSilentError(method, reply.silence(Outcome.UNKNOWN, f"the node answered {reply.status}"))
        if answer.get("error") is not None:
            error = answer["error"]
            raise NodeRefusalError(method, int(error.get("code", 0)), str(error.get("message", "")))
        return answer["result"]

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._client.aclose()
