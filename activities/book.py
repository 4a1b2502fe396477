"""Writing: commits postings and announces what was committed to whoever waits in this process."""

from temporalio import activity

from domain.book import BookWriter
from domain.ledger import Posting, PostingResult, RefusalCode
from domain.outcomes import OutcomeBoard, is_outcome
from workflows.ports import BookPort


class BookActivities(BookPort):
    """The book port over a poster; the announcement is what lets the API answer at commit."""

    def __init__(self, book: BookWriter, board: OutcomeBoard) -> None:
        self._book = book
        self._board = board

    @activity.defn(name="post")
    async def post(self, posting: Posting) -> PostingResult:
        """Commit a posting. Idempotent on its key; see `BookPort.post`."""
        result = await self._book.post(posting)
        self._announce(posting, result)
        return result

    def _announce(self, posting: Posting, result: PostingResult) -> None:
        workflow_id = activity.info().workflow_id
        assert workflow_id is not None
        primary = posting.records[0]
        refusal = result.refusal
        if refusal is None:
            document = result.documents[primary.id]
            if is_outcome(document):
                self._board.announce(workflow_id, document)
        elif refusal.code is RefusalCode.IDEMPOTENCY_KEY_TAKEN and primary.version == 1:
            self._board.announce(workflow_id, {"object": "superseded", "key_taken_by": refusal.object_id})
