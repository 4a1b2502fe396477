"""Every format there is, by name."""

from domain.reconciliation import FileFormat, Statement
from reconciliation.acquirer_csv import read_acquirer_csv
from reconciliation.bank_csv import read_bank_csv


def read_statement(content: bytes, file_format: FileFormat, party: str) -> Statement:
    """Return a file as its format reads it; the same bytes always read the same.

    Raises:
        FileRefusedError: it is not whole, or cannot be read. Not retryable.
    """
    if file_format is FileFormat.ACQUIRER_CSV:
        return read_acquirer_csv(content, party)
    assert file_format is FileFormat.BANK_CSV
    return read_bank_csv(content)
