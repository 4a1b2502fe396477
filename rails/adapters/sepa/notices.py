"""What the messages in a mailbox prove of all our SEPA orders, told as notices.

Decides which references are ours; what they prove is `rails/iso20022/standing.py`'s.
"""

from collections import defaultdict
from collections.abc import Callable

from domain.inbound import InboundNotice
from rails.bank_files import BankFiles, Reports, notices_of
from rails.iso20022.references import rail_key_of
from rails.iso20022.reports import OrderReport
from rails.iso20022.standing import Standing

COLLECTING_SECONDS_MAX = 60.0


async def collect_by_reference(
    rail: str, files: BankFiles, stands: Callable[[Reports, str], Standing | None]
) -> tuple[InboundNotice, ...]:
    """Return the notices of every order of ours the mailbox speaks of.

    Raises:
        ConnectionError: the mailbox could not be read. Retryable.
    """
    reports = await files.reports(COLLECTING_SECONDS_MAX)
    if isinstance(reports, Standing):
        raise ConnectionError(reports.detail)
    by_reference: dict[str, list[OrderReport]] = defaultdict(list)
    for report in reports:
        # The file of an order has the order's own reference.
        by_reference[report.end_to_end_id or report.message_id or ""].append(report)
    notices: list[InboundNotice] = []
    for reference, told in by_reference.items():
        rail_key = rail_key_of(reference)
        known = None if rail_key is None else stands(tuple(told), reference)
        if rail_key is not None and known is not None:
            notices += notices_of(rail, rail_key, reference, known)
    return tuple(notices)
