"""What the messages in a mailbox prove of all our SEPA orders, told as notices.

Decides which references are ours; what they prove is `rails/iso20022/standing.py`'s.
"""

import asyncio
from collections.abc import Callable

from domain.inbound import InboundNotice
from rails.bank_files import BankFiles, Reports, Told, notices_of
from rails.iso20022.references import rail_key_of
from rails.iso20022.standing import Standing

COLLECTING_SECONDS_MAX = 60.0


async def collect_by_reference(
    rail: str, files: BankFiles, stands: Callable[[Reports, str], Standing | None]
) -> tuple[InboundNotice, ...]:
    """Return the notices of every order of ours the mailbox speaks of.

    Raises:
        ConnectionError: the mailbox could not be read. Retryable.
    """
    told = await files.reports(COLLECTING_SECONDS_MAX)
    if isinstance(told, Standing):
        raise ConnectionError(told.detail)
    return await asyncio.to_thread(_notices, rail, told, stands)


def _notices(rail: str, told: Told, stands: Callable[[Reports, str], Standing | None]) -> tuple[InboundNotice, ...]:
    notices: list[InboundNotice] = []
    for reference, reports in told.items():
        # The file of an order has the order's own reference.
        rail_key = rail_key_of(reference)
        known = None if rail_key is None else stands(reports, reference)
        if rail_key is not None and known is not None:
            notices += notices_of(rail, rail_key, reference, known)
    return tuple(notices)
