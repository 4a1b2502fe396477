"""The files of a world that has come to rest: each rail's settlement and the bank's statement against the books.

Whatever is not matched line by line, or missing on either side, is a settlement break.
"""

from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.e2e.shop import Document, Shop

FORMATS = (("settlement_file", "acquirer_csv"), ("bank_statement", "bank_csv"))
RECONCILED_SECONDS_MAX = 240.0


@dataclass(slots=True, kw_only=True)
class Settling:
    """What came of the files: lines matched, by format, and breaks in words, each with what it is about."""

    matched: Counter[str] = field(default_factory=Counter)
    breaks: list[tuple[str, str]] = field(default_factory=list)


def settle(rails_url: str, admin: Shop) -> Settling:
    """Hand in what the rails say they settled and what the bank says they paid, and return what came of it."""
    settling = Settling()
    with httpx.Client(base_url=rails_url, timeout=60, trust_env=False) as rails:
        for rail in rails.get("/healthz").json()["rails"]:
            for name, form in FORMATS:
                written = rails.get(f"/rails/{rail}/{name}")
                file = _reconciled(admin, rail if name == "settlement_file" else "bank_main", form, written.content)
                settling.matched[form] += file["matched"]
                if file["exceptions"] or file["duplicates"]:
                    settling.breaks += [
                        (one["subject"], f"{rail} {name}: {one['detail']}") for one in _told(admin, file)
                    ]
    return settling


def _reconciled(admin: Shop, party: str, form: str, content: bytes) -> Document:
    fields = {"format": form, "rail": party, "mode": "test"}
    answer = admin.send("POST", "/v1/reconciliation/files", data=fields, files={"file": ("file.csv", content)})
    assert answer.status_code in (200, 201, 202), answer.text
    path = f"/reconciliation/files/{answer.json()['id']}"
    return admin.await_status(path, "reconciled", seconds=RECONCILED_SECONDS_MAX)


def _told(admin: Shop, file: Document) -> list[Document]:
    exceptions = admin.every("/reconciliation/exceptions", status="open")
    return [one for one in exceptions if one.get("file") == file["id"]]
