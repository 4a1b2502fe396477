"""Objects rebuilt from their events, as the API shows them.

The last event of an object carries its whole state. Two fields are derived from other objects' events, as
the API derives them when it is asked: what was refunded of a charge, and which transfer reversed another.
"""

from typing import Any

Document = dict[str, Any]


class ObjectMirror:
    """The state of every object whose events were applied, in sequence."""

    def __init__(self) -> None:
        self._objects: dict[str, Document] = {}
        self._refunded: dict[str, dict[str, int]] = {}
        self._reversed: dict[str, str] = {}

    def apply(self, event: Document) -> None:
        """Take one event; events of one object come in sequence. Idempotent: the same one again changes nothing."""
        subject: Document = event["data"]["object"]
        if "id" not in subject:
            return
        self._objects[subject["id"]] = subject
        kind = event["type"].split(".", 1)[0]
        if kind == "refund":
            amount = subject["amount"] if subject["status"] == "succeeded" else 0
            self._refunded.setdefault(subject["charge"], {})[subject["id"]] = amount
        if kind == "transfer" and subject.get("reverses") and subject["status"] == "settled":
            self._reversed[subject["reverses"]] = subject["id"]

    def get(self, object_id: str) -> Document | None:
        """Return an object as `GET` would, or None before its first event."""
        found = self._objects.get(object_id)
        if found is None:
            return None
        kind = found.get("object")
        if kind == "charge":
            return {**found, "amount_refunded": sum(self._refunded.get(object_id, {}).values())}
        if kind == "transfer":
            return {**found, "reversed_by": self._reversed.get(object_id)}
        return dict(found)
