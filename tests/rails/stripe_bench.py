"""The Stripe connector on the bench, before either counterpart, behind a path that breaks on demand."""

import secrets
from pathlib import Path

from domain.rail import Flow, Outcome
from rails.adapter import RecordKeeper
from rails.adapters.stripe.adapter import build
from rails.contract import Effect, RailBench
from rails.faulty_path import Fault, FaultyPath
from rails.records import RailRecords
from tests.rails.kept_records import KeptRecords
from tests.rails.stripe_peers import KEY, StripePeer

SOURCES = {
    "payment_intents": {
        "approved": "pm_card_visa",
        "declined_hard": "pm_that_is_not_there",
        "declined_soft": "pm_card_chargeCustomerFail",
        "lost": "pm_card_visa",
    },
    "charges": {
        "approved": "tok_visa",
        "declined_hard": "tok_chargeDeclinedFraudulent",
        "declined_soft": "tok_chargeDeclinedInsufficientFunds",
        "lost": "tok_visa",
    },
}
WEBHOOK_SECRET = f"whsec_{secrets.token_hex(8)}"


class StripeBench(RailBench):
    """One adapter before one counterpart. `records` outlive it, as the table outlives a worker."""

    def __init__(self, peer: StripePeer, path: FaultyPath, folder: Path, records: RailRecords | None = None) -> None:
        (folder / "stripe.key").write_text(KEY)
        (folder / "stripe.webhook").write_text(WEBHOOK_SECRET)
        (self.adapter,) = build(
            {
                "name": "stripe",
                "url": path.url,
                "api_key_file": str(folder / "stripe.key"),
                "webhook_secret_file": str(folder / "stripe.webhook"),
                "api": peer.api,
                "lookup": "list",
                "idempotency": "kept" if peer.idempotent else "none",
            }
        )
        self.peer, self.path = peer, path
        self.records = records or KeptRecords()
        assert isinstance(self.adapter, RecordKeeper)
        self.adapter.keep_records_in(self.records)

    def first_flow(self) -> Flow:
        return Flow.AUTHORIZE

    def order_fields(self, fate: str) -> dict[str, object]:
        if fate == "lost":
            self.path.delay_next()
        return {"source": SOURCES[self.peer.api][fate], "capture": True}

    def effect(self, rail_key: str) -> Effect | None:
        made = self.peer.made_under(rail_key)
        assert len(made) <= 1, f"{rail_key} took effect {len(made)} times"
        return Effect(Outcome.APPROVED.value, made[0]["amount"], 1) if made else None

    async def break_next_call(self, kind: Fault) -> None:
        await self.path.break_next(kind)

    async def heal(self) -> None:
        await self.path.heal()
