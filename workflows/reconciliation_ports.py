"""What reconciliation asks for: lines matched a page at a time, files closed. Activity names are wire contracts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from temporalio import activity


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchLines:
    """The page of a file's lines after number `after`."""

    file_id: str
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPage:
    """Every line up to `last` has its outcome; `ended`: there are no more."""

    last: int
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileClosing:
    """How a file stands. `wait_seconds`: until what it lacks may be called missing; None: it is closed."""

    wait_seconds: float | None = None


class ReconciliationPort(ABC):
    """Matching files of rails and banks with the books."""

    @abstractmethod
    @activity.defn(name="match_lines")
    async def match_lines(self, page: MatchLines) -> MatchedPage:
        """Give the lines of a page their outcomes. Idempotent: a line that has its outcome keeps it."""

    @abstractmethod
    @activity.defn(name="close_file")
    async def close_file(self, file_id: str) -> FileClosing:
        """Open exceptions for what the books have and the file lacks, and close the file. Idempotent."""

    @abstractmethod
    @activity.defn(name="resume_files")
    async def resume_files(self) -> int:
        """Start the run of each file that was taken and not started; return how many. Idempotent."""
