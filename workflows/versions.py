"""Every patch id ever used in a workflow, with its date and when it may go. A snapshot test lists them."""

PATCHES: dict[str, str] = {}
"""patch id -> "added YYYY-MM-DD; removable YYYY-MM-DD: why". Empty: nothing has changed since the first release."""
