"""Every patch id ever used in a workflow, with its date and when it may go. A snapshot test lists them."""

DISPUTE_LIFECYCLE = "dispute-lifecycle"

PATCHES: dict[str, str] = {
    DISPUTE_LIFECYCLE: "added 2026-11-26; removable 2027-03-01: disputes stay open until won or lost",
}
"""patch id -> "added YYYY-MM-DD; removable YYYY-MM-DD: why"."""
