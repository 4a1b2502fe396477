"""Stripe as a card rail: which call each order is, and how an order whose answer was lost is found again.

Every order carries its rail key twice: as Stripe's idempotency key, and in the object's metadata, by which it is
found where the counterpart keeps no idempotency. What becomes of an authorization later is written ahead in the
adapter's own records, because Stripe's capture and cancel carry no key of ours.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from domain.inbound import Callback, InboundNotice
from domain.rail import Flow, Outcome, RailAnswer, RailRequest
from rails.adapter import CardDetails, RailAdapter, RailProfile
from rails.adapters.stripe.account import Lookup, StripeAccount
from rails.adapters.stripe.answers import (
    answer_of_authorization,
    answer_of_ending,
    answer_of_error,
    answer_of_refund,
    declined,
)
from rails.adapters.stripe.callbacks import read_event
from rails.adapters.stripe.profile import stripe_profile
from rails.adapters.stripe.surfaces import SURFACES, Surface
from rails.adapters.stripe.wire import (
    Authorization,
    Document,
    GarbledAnswerError,
    RefundShown,
    Standing,
    read_document,
    read_refund,
)
from rails.callback_signatures import check_timed_signature
from rails.configuration import RailConfiguration, moves_real_money, secret_of
from rails.exchange import Reply, open_client
from rails.records import RailRecords

LOOK_BACK_SECONDS = 3600.0
"""How much older than its order an object may seem: the clocks of both sides, and then some."""


def build(configuration: RailConfiguration) -> Iterable[RailAdapter]:
    """Return the adapter of one line of rails.toml.

    Raises:
        ValueError: the line lacks something or holds something unknown. Not retryable.
    """
    name = configuration.get("name", "stripe")
    surface = SURFACES.get(configuration.get("api", "payment_intents"))
    lookup, idempotency = configuration.get("lookup", "search"), configuration.get("idempotency", "kept")
    if surface is None or lookup not in ("search", "list") or idempotency not in ("kept", "none"):
        raise ValueError(f"the rail {name} has an `api`, `lookup` or `idempotency` that is none")
    live = moves_real_money(name, configuration)
    api_key = secret_of(name, configuration, "api_key_file")
    if live is not api_key.startswith(("sk_live_", "rk_live_")):
        raise ValueError(f"the rail {name} has a key of the other mode than its line says")
    url = configuration.get("url", "https://api.stripe.com")
    chosen: Lookup = "list" if lookup == "list" else "search"
    webhook_secret = (
        secret_of(name, configuration, "webhook_secret_file") if "webhook_secret_file" in configuration else ""
    )
    yield StripeAdapter(
        stripe_profile(name, live=live, idempotent=idempotency == "kept"),
        StripeAccount(open_client(url), api_key=api_key, lookup=chosen),
        surface,
        webhook_secret=webhook_secret.encode(),
    )


class StripeAdapter:
    """One Stripe account through one of its surfaces; implements `rails.adapter.RailAdapter`."""

    def __init__(
        self, profile: RailProfile, account: StripeAccount, surface: Surface, *, webhook_secret: bytes = b""
    ) -> None:
        self._profile = profile
        self._account = account
        self._surface = surface
        self._webhook_secret = webhook_secret
        self._kept: RailRecords | None = None

    @property
    def profile(self) -> RailProfile:
        """Return what is known of the rail."""
        return self._profile

    def keep_records_in(self, records: RailRecords) -> None:
        """Take the place where the adapter writes ahead; see `rails.adapter.RecordKeeper`."""
        self._kept = records

    def read_callback(self, callback: Callback) -> Sequence[InboundNotice]:
        """Return what an event of Stripe's tells; see `rails.adapter.CallbackReader.read_callback`."""
        header = callback.headers.get("stripe-signature", "")
        check_timed_signature(header, callback.body, secrets=(self._webhook_secret,), now=callback.received_at)
        return read_event(callback.body, self._profile.name, live=not self._profile.sandbox)

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._account.aclose()

    async def execute(self, request: RailRequest, card: CardDetails | None) -> RailAnswer:
        """Give one order to Stripe; see `rails.adapter.RailAdapter.execute`."""
        if request.flow not in self._profile.flows:
            raise ValueError(f"{self._profile.name} has no capability for {request.flow.value}")
        until = time.monotonic() + request.deadline_seconds
        if request.flow is Flow.AUTHORIZE:
            return await self._authorize(request, card, until)
        assert request.original_rail_key is not None, "an order about an authorization names it"
        original = await self._authorization_id(request, until)
        if isinstance(original, RailAnswer):
            return original
        if request.flow is Flow.REFUND:
            return await self._refund(request, original, until)
        return await self._end(request, original, until)

    async def inquire(self, *, flow: Flow, rail_key: str, sent_at: datetime, deadline_seconds: float) -> RailAnswer:
        """Return what became of an order; see `rails.adapter.RailAdapter.inquire`.

        An intent found waiting for the customer is cancelled, which makes its outcome definite.
        """
        until = time.monotonic() + deadline_seconds
        if flow is Flow.AUTHORIZE:
            made_after = sent_at.timestamp() - LOOK_BACK_SECONDS
            found = await self._find(rail_key, made_after=made_after, until=until)
            if isinstance(found, RailAnswer):
                return found
            return await self._settled(found, until=until)
        sent = await self._records.find(self._profile.name, rail_key)
        if sent is None:
            return RailAnswer(outcome=Outcome.UNKNOWN, detail="this order was not written ahead here")
        if flow is Flow.REFUND:
            return await self._refund_sent(rail_key, sent["authorization"], until=until)
        return await self._ending(flow, rail_key, sent["authorization"], until=until)

    # --- authorize ---

    async def _authorize(self, request: RailRequest, card: CardDetails | None, until: float) -> RailAnswer:
        if request.resumed:
            # A worker that died may have sent this long ago, when Stripe's memory of keys is over.
            known = await self.inquire(
                flow=request.flow,
                rail_key=request.rail_key,
                sent_at=datetime.now(UTC),
                deadline_seconds=request.deadline_seconds,
            )
            if known.outcome is not Outcome.UNKNOWN or not self._profile.idempotent:
                return known
        call = self._surface.authorize(request, card)
        reply = await self._account.post(call.path, call.fields, key=request.rail_key, until=until)
        if isinstance(reply, RailAnswer):
            return reply
        if reply.status != 200:
            return answer_of_error(reply)
        try:
            found = self._surface.read(read_document(reply.body))
        except GarbledAnswerError as error:
            return reply.silence(Outcome.UNKNOWN, str(error))
        told = (found.rail_key, found.amount_minor, found.currency)
        if told != (request.rail_key, request.amount_minor, request.currency):
            return reply.silence(Outcome.UNKNOWN, "the answer is about another order")
        answer = await self._settled(found, until=until, latency_ms=reply.latency_ms)
        if answer.outcome is Outcome.APPROVED:
            await self._records.add(self._profile.name, request.rail_key, {"id": found.id})
        return answer

    async def _settled(self, found: Authorization, *, until: float, latency_ms: float = 0.0) -> RailAnswer:
        """Return what an authorization comes to. One that waits for the customer is cancelled first.

        Left open it could be authenticated and charged after the order was answered.
        """
        if found.standing is Standing.NEEDS_CUSTOMER:
            call = self._surface.void(found.id, "")
            reply = await self._account.post(call.path, call.fields, key=f"{found.id}:cancel", until=until)
            if isinstance(reply, RailAnswer):
                return RailAnswer(outcome=Outcome.UNKNOWN, rail_reference=found.id, detail="it waits for the customer")
            now = await self._read(found.id, until=until)
            if isinstance(now, RailAnswer):
                return now
            found = now
        return answer_of_authorization(found, latency_ms=latency_ms)

    # --- capture and void ---

    async def _end(self, request: RailRequest, authorization_id: str, until: float) -> RailAnswer:
        """Capture or void. Stripe does either once, whatever is sent, so a repeated call is no second effect."""
        refused = await self._write_ahead(request, authorization_id, until)
        if refused is not None:
            return refused
        if request.flow is Flow.CAPTURE:
            call = self._surface.capture(authorization_id, request.amount_minor)
        else:
            call = self._surface.void(authorization_id, request.rail_key)
        reply = await self._account.post(call.path, call.fields, key=request.rail_key, until=until)
        if isinstance(reply, RailAnswer):
            return reply
        answer = self._end_told(request.flow, reply)
        if answer.outcome in (Outcome.APPROVED, Outcome.NOT_ATTEMPTED):
            return answer
        # A refusal may only mean that an earlier call of ours had done it: the authorization's standing tells.
        standing = await self._ending(request.flow, request.rail_key, authorization_id, until=until)
        return answer if standing.outcome is Outcome.UNKNOWN else standing

    def _end_told(self, flow: Flow, reply: Reply) -> RailAnswer:
        """Return what the reply to a capture or void says by itself."""
        if reply.status != 200:
            return answer_of_error(reply)
        try:
            found = self._surface.read(read_document(reply.body))
        except GarbledAnswerError as error:
            return reply.silence(Outcome.UNKNOWN, str(error))
        return answer_of_ending(flow, found, mine=True, latency_ms=reply.latency_ms)

    async def _ending(self, flow: Flow, rail_key: str, authorization_id: str, *, until: float) -> RailAnswer:
        found = await self._read(authorization_id, until=until)
        if isinstance(found, RailAnswer):
            return found
        claim = await self._records.find(self._profile.name, f"{authorization_id}/capture")
        mine = claim is not None and claim["by"] == rail_key
        return answer_of_ending(flow, found, mine=mine)

    # --- refund ---

    async def _refund(self, request: RailRequest, authorization_id: str, until: float) -> RailAnswer:
        await self._write_ahead(request, authorization_id, until)
        if request.resumed or not self._profile.idempotent:
            known = await self._refused_or_known(request, authorization_id, until)
            if known is not None:
                return known
        fields = {
            self._surface.refund_field: authorization_id,
            "amount": request.amount_minor,
            "metadata": {"rail_key": request.rail_key},
        }
        reply = await self._account.post("/v1/refunds", fields, key=request.rail_key, until=until)
        if isinstance(reply, RailAnswer):
            return reply
        if reply.status != 200:
            return answer_of_error(reply)
        try:
            found = read_refund(read_document(reply.body))
        except GarbledAnswerError as error:
            return reply.silence(Outcome.UNKNOWN, str(error))
        if (found.rail_key, found.amount_minor, found.currency) != (
            request.rail_key,
            request.amount_minor,
            request.currency,
        ):
            return reply.silence(Outcome.UNKNOWN, "the answer is about another refund")
        return answer_of_refund(found, latency_ms=reply.latency_ms)

    async def _refused_or_known(self, request: RailRequest, authorization_id: str, until: float) -> RailAnswer | None:
        """Return the answer of a refund that must not be sent (again); None where it may be.

        Asked of the counterpart's own list: it may keep no idempotency and check no sum.
        """
        refunds = await self._refunds(authorization_id, until=until)
        if isinstance(refunds, RailAnswer):
            # Nothing was sent now; whether an earlier run sent it, nobody can say.
            return refunds if request.resumed else _not_sent(refunds)
        for one in refunds:
            if one.rail_key == request.rail_key:
                return answer_of_refund(one)
        if request.resumed and not self._profile.idempotent:
            return RailAnswer(outcome=Outcome.UNKNOWN, detail="not known to Stripe (yet)")
        authorization = await self._read(authorization_id, until=until)
        if isinstance(authorization, RailAnswer):
            return _not_sent(authorization)
        given_back = sum(one.amount_minor for one in refunds if one.status not in ("failed", "canceled"))
        if given_back + request.amount_minor > authorization.amount_minor:
            return declined("charge_already_refunded", reference=authorization_id)
        return None

    async def _refund_sent(self, rail_key: str, authorization_id: str, *, until: float) -> RailAnswer:
        refunds = await self._refunds(authorization_id, until=until)
        if isinstance(refunds, RailAnswer):
            return refunds
        for one in refunds:
            if one.rail_key == rail_key:
                return answer_of_refund(one)
        return RailAnswer(outcome=Outcome.UNKNOWN, detail="not known to Stripe (yet)")

    # --- reading and records ---

    @property
    def _records(self) -> RailRecords:
        assert self._kept is not None, "orders are given only by a process that keeps records"
        return self._kept

    async def _write_ahead(self, request: RailRequest, authorization_id: str, until: float) -> RailAnswer | None:
        """Write what an order is about before it is sent; a capture also claims its authorization.

        Returns why the order may not be sent now, None if it may. A claim passes on only while the authorization
        is uncaptured: the one before is then definitely not done, the charge's own workflow has seen to that.
        """
        name, claimed = self._profile.name, f"{authorization_id}/capture"
        await self._records.add(name, request.rail_key, {"authorization": authorization_id})
        if request.flow is Flow.REFUND:
            return None
        held = {"by": ""}
        if request.flow is Flow.CAPTURE:
            held = dict(await self._records.add(name, claimed, {"by": request.rail_key}))
        passing = request.flow is Flow.CAPTURE and held["by"] != request.rail_key
        if not passing and not self._surface.asks_before_ending:
            return None
        found = await self._read(authorization_id, until=until)
        if isinstance(found, RailAnswer):
            return _not_sent(found)
        answer = answer_of_ending(request.flow, found, mine=held["by"] == request.rail_key)
        if answer.outcome is not Outcome.UNKNOWN:
            return answer
        if passing:
            await self._records.replace(name, claimed, {"by": request.rail_key})
        return None

    async def _authorization_id(self, request: RailRequest, until: float) -> str | RailAnswer:
        """Return what Stripe calls the authorization; NOT_ATTEMPTED if that can't be learned now."""
        assert request.original_rail_key is not None
        known = await self._records.find(self._profile.name, request.original_rail_key)
        if known is not None:
            return str(known["id"])
        # Its answer was lost and learned by asking, or the worker died before it was written down.
        found = await self._find(request.original_rail_key, made_after=0.0, until=until)
        if isinstance(found, RailAnswer):
            return _not_sent(found)
        await self._records.add(self._profile.name, request.original_rail_key, {"id": found.id})
        return found.id

    async def _find(self, rail_key: str, *, made_after: float, until: float) -> Authorization | RailAnswer:
        found = await self._account.find(self._surface.collection, rail_key, made_after=made_after, until=until)
        return found if isinstance(found, RailAnswer) else self._believed(found)

    async def _read(self, authorization_id: str, *, until: float) -> Authorization | RailAnswer:
        path = f"{self._surface.collection}/{quote(authorization_id, safe='')}"
        found = await self._account.read(path, until=until)
        return found if isinstance(found, RailAnswer) else self._believed(found)

    def _believed(self, found: Document) -> Authorization | RailAnswer:
        try:
            return self._surface.read(found)
        except GarbledAnswerError as error:
            return RailAnswer(outcome=Outcome.UNKNOWN, detail=str(error))

    async def _refunds(self, authorization_id: str, *, until: float) -> list[RefundShown] | RailAnswer:
        found = await self._account.refunds_of(self._surface.refund_field, authorization_id, until=until)
        if isinstance(found, RailAnswer):
            return found
        try:
            return [read_refund(one) for one in found]
        except GarbledAnswerError as error:
            return RailAnswer(outcome=Outcome.UNKNOWN, detail=str(error))


def _not_sent(answer: RailAnswer) -> RailAnswer:
    """Return the answer of an order that stayed here because a question before it failed."""
    return RailAnswer(
        outcome=Outcome.NOT_ATTEMPTED, latency_ms=answer.latency_ms, detail=f"nothing was sent: {answer.detail}"
    )
