"""The one door to the books, as those who write through it see it."""

from typing import Protocol

from domain.ledger import Posting, PostingResult


class BookWriter(Protocol):
    """Commits postings; `ledger.posting.Poster` is the implementation."""

    async def post(self, posting: Posting) -> PostingResult:
        """Commit a posting in one SERIALIZABLE transaction. Idempotent on `posting.key`.

        Raises:
            ConnectionError: the database could not be reached or the outcome of a commit could not
                be established within the retry budget. Retryable.
        """
        ...
