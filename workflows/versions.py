"""Every patch id ever used in a workflow, with its date and when it may go. A snapshot test lists them."""

ASK_ON_AFTER_FINDING = "ask-on-after-finding"

PATCHES: dict[str, str] = {
    ASK_ON_AFTER_FINDING: "added 2026-11-26; removable 2027-11-26: a rail is asked on after a person said declined",
}
"""patch id -> "added YYYY-MM-DD; removable YYYY-MM-DD: why"."""
