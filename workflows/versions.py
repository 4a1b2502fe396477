"""Every patch id ever used in a workflow, with its date and when it may go. A snapshot test lists them."""

ASK_ON_AFTER_FINDING = "ask-on-after-finding"
FAILOVER_TIME = "failover-time"
DISPUTE_LIFECYCLE = "dispute-lifecycle"

PATCHES: dict[str, str] = {
    ASK_ON_AFTER_FINDING: "added 2026-11-26; removable 2027-11-26: a rail is asked on after a person said declined",
    FAILOVER_TIME: "added 2026-11-26; removable 2027-11-26: failover ends when the rails have used up its time",
    DISPUTE_LIFECYCLE: "added 2026-11-26; removable 2027-03-01: disputes stay open until won or lost",
}
"""patch id -> "added YYYY-MM-DD; removable YYYY-MM-DD: why"."""
