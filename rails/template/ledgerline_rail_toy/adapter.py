"""The adapter of toy: what the rail can do, where its orders go, and what its answers mean.

Implements `rails.adapter.RailAdapter`. The two rules that matter: a failure after the first byte of an
order has left is UNKNOWN, and a question that failed says nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import httpx

from domain.rail import DeclineClass, Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailAdapter, RailPrice, RailProfile
from rails.configuration import RailConfiguration, moves_real_money, required
from rails.exchange import Reply, exchange, open_client
from rails.outcomes import classify_status

from .wire import GarbledAnswerError, decode_answer, encode_order

NAME = "toy"

PROFILE = RailProfile(
    name=NAME,
    kind="card",
    flows=frozenset({Flow.AUTHORIZE, Flow.CAPTURE, Flow.VOID, Flow.REFUND}),
    # What the contract with the rail says: 80 basis points and 12 cents.
    prices={"EUR": RailPrice(basis_points=80, fixed_minor=12)},
    settlement_seconds=86_400.0,
    # Money is final with the settlement file, not with the approval.
    final_funds=False,
    # The rail promises that a re-sent key is never done twice. If yours does not, say False: a resumed
    # order is then asked about before it is sent again.
    idempotent=True,
    # The rail gives no promise that an order it does not know will never happen.
    not_found_final_after_seconds=None,
    approval_prior=0.9,
)

DECLINE_CODES: dict[str, str] = json.loads((Path(__file__).parent / "decline_codes.json").read_text("utf-8"))["codes"]


def build(configuration: RailConfiguration) -> Iterable[RailAdapter]:
    """Return the adapters of this provider; called once for the line in rails.toml.

    Raises:
        ValueError: the line lacks something. Not retryable.
    """
    profile = replace(PROFILE, sandbox=not moves_real_money(NAME, configuration))
    yield ToyRailAdapter(profile, open_client(required(NAME, configuration, "url")))


class ToyRailAdapter:
    """The rail toy over HTTP."""

    def __init__(self, profile: RailProfile, client: httpx.AsyncClient) -> None:
        self._profile = profile
        self._client = client

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._client.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to the rail; see `rails.adapter.RailAdapter.execute`."""
        if request.flow not in PROFILE.flows:
            raise ValueError(f"{NAME} has no capability for {request.flow.value}")
        reply = await exchange(
            self._client,
            "POST",
            f"/orders/{request.flow.value}",
            deadline_seconds=request.deadline_seconds,
            headers={"Content-Type": "application/json", "Idempotency-Key": request.rail_key},
            body=encode_order(request, card),
        )
        if isinstance(reply, RailAnswer):
            return reply
        if reply.status == 200:
            return _read(reply, request.rail_key)
        # This rail's errors carry no promise that nothing was done, so a 5xx is UNKNOWN whatever it says.
        outcome = classify_status(reply.status, says_not_attempted=False, guarantees_not_attempted=False)
        if outcome is Outcome.DECLINED:
            return RailAnswer(
                outcome=outcome,
                decline_code="order_malformed",
                decline_class=DeclineClass.HARD,
                latency_ms=reply.latency_ms,
            )
        return reply.silence(outcome, f"the rail answered {reply.status}")

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Ask what became of an order; see `rails.adapter.RailAdapter.inquire`."""
        del flow, sent_at  # one address for every order, and no promise that time would change
        url = f"/orders/{quote(rail_key, safe='')}"
        reply = await exchange(self._client, "GET", url, deadline_seconds=deadline_seconds)
        if isinstance(reply, RailAnswer):
            return RailAnswer(outcome=Outcome.UNKNOWN, latency_ms=reply.latency_ms, detail="the inquiry failed")
        if reply.status != 200:
            return reply.silence(Outcome.UNKNOWN, f"the inquiry was answered {reply.status}")
        return _read(reply, rail_key)


def _read(reply: Reply, rail_key: str) -> RailAnswer:
    try:
        answer = decode_answer(reply.body, rail_key=rail_key)
    except GarbledAnswerError as error:
        return reply.silence(Outcome.UNKNOWN, str(error))
    # A code nobody has looked at permits nothing.
    decline_class = DeclineClass(DECLINE_CODES.get(answer.code, "hard")) if answer.code is not None else None
    return RailAnswer(
        outcome=Outcome(answer.state),
        decline_code=answer.code,
        decline_class=decline_class,
        rail_reference=answer.reference,
        final_funds=PROFILE.final_funds and answer.state == "approved",
        latency_ms=reply.latency_ms,
    )
