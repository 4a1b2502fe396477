"""What an authorization held is in the balances of the past, and nothing of it after its expiry (semantics rule 14)."""

import psycopg

from domain.facts import ChargeAuthorized, ChargeReleased
from domain.identifiers import default_account_id, new_identifier
from domain.ledger import AuditDraft, Posting
from ledger.balances import balance_at
from ledger.posting import Poster
from tests.ledger.postings import World


async def test_rule_14_an_expired_hold_is_in_the_balance_history(
    poster: Poster, reader: psycopg.AsyncConnection
) -> None:
    world, charge = World(), new_identifier("ch")
    account = default_account_id(world.merchant_id, "EUR")
    terms = {"charge_id": charge, "account": account, "rail": "alpha", "amount_minor": 8420, "currency": "EUR"}
    instants = []
    for version, fact in enumerate((ChargeAuthorized(**terms), ChargeReleased(**terms)), 1):
        posting = Posting(
            key=f"{charge}:{version}",
            merchant_id=world.merchant_id,
            mode=world.mode,
            audit=AuditDraft(actor="test", action="test", object_id=charge),
            facts=(fact,),
        )
        result = await poster.post(posting)
        assert result.refusal is None and result.recorded_at is not None
        instants.append(result.recorded_at)
    answers = [await balance_at(reader, world.code(account), instant) for instant in instants]
    shown = [(one.posted_minor, one.pending_credits_minor, one.available_minor) for one in answers if one is not None]
    assert shown == [(0, 8420, 0), (0, 0, 0)]
