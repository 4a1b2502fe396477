"""The resolution pack: what an administrator of the institution's insolvency needs first, as one ZIP file.

The same book and the same instant give the same bytes: rows are sorted, the archive carries the pack's instant in
place of the time it was written. Rows are streamed from the database into the file; memory holds one batch of them.
Decides what is in it; docs/safeguarding.md says what an institution must add. Source: FCA Handbook CASS 10A.
"""

import asyncio
import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Any, Protocol

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from domain.canonical import canonical_json
from domain.identifiers import Mode, public_account_id
from domain.safeguarding import Document, reconciliation_document
from domain.safeguarding_breaks import age_days
from domain.timestamps import rfc3339
from ledger.safeguarded import positions_at
from ledger.safeguarding_pack import BALANCES, HISTORY, MERCHANTS, OWN_ACCOUNTS

ROWS_AT_A_TIME = 2_000
FORMAT = "ledgerline-resolution-pack/1"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

CONTACTS = """# Contacts

To be filled in by the institution and kept up to date; this file is a template.

| who | name | telephone | e-mail | out of hours |
|---|---|---|---|---|
| individual responsible for safeguarding | | | | |
| deputy | | | | |
| finance, who reconciles | | | | |
| IT, who can restore and export the ledger | | | | |
| safeguarding auditor | | | | |
| legal adviser | | | | |
| each safeguarding bank: relationship manager | | | | |
| each agent and distributor | | | | |

Where the agreements and acknowledgement letters with each bank are kept:

Where the records outside this ledger are kept, and who can open them:
"""

README = """# Resolution pack

| file | holds |
|---|---|
| `manifest.json` | every other file with its size, number of rows and SHA-256 |
| `manifest.signature.json` | Ed25519 signature over the SHA-256 of `manifest.json`, if this installation signs |
| `position.json` | each currency at the pack's instant: requirement, resource, difference, parts, bank accounts |
| `customer_balances.csv` | every customer's and merchant's account; `counted` adds up to the requirement's share |
| `merchants.csv` | who the merchants are |
| `bank_accounts.csv` | each safeguarding account, by the books and by the statement that counts |
| `chart_of_accounts.csv` | the ledger's own accounts with their balances |
| `reconciliations.ndjson`, `breaks.ndjson`, `statements.ndjson` | of the days before the instant, one object a line |
| `contacts.md` | to be filled in |

Amounts are integers in minor units of their currency; balances are credits less debits, so what a customer is owed is
positive. Names and the state of breaks are as they were when the pack was made, everything else is of its instant.
A cell of free text that would be read as a formula begins with an apostrophe.
"""


class ManifestSigner(Protocol):
    """Signs the pack's manifest; `audit.signing.AuditSigner` is the implementation."""

    def sign(self, content_hash: bytes) -> tuple[str, bytes]:
        """Return the key's id and the signature over a 32-byte hash."""
        ...

    def public_key(self) -> Mapping[str, str]:
        """Return the public key as it is published."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PackTerms:
    """What a pack is of: a settled instant, a mode, how much history, and which statements count."""

    at: datetime
    mode: Mode
    history: timedelta
    statement_age_max: timedelta


@dataclass(slots=True)
class _Pack:
    """A pack being written. Writing and compressing happen in a thread, the files one after another."""

    archive: zipfile.ZipFile
    at: datetime
    files: list[Document] = field(default_factory=list)

    async def add(self, name: str, chunks: AsyncIterator[tuple[int, bytes]], *, listed: bool = True) -> None:
        """Write a file of (rows, bytes) chunks and note its hash."""
        digest, size, count = hashlib.sha256(), 0, 0
        with self.archive.open(self._entry(name), "w", force_zip64=True) as file:
            async for rows, chunk in chunks:
                digest.update(chunk)
                size, count = size + len(chunk), count + rows
                await asyncio.to_thread(file.write, chunk)
        if listed:
            self.files.append({"name": name, "bytes": size, "rows": count, "sha256": digest.hexdigest()})

    def _entry(self, name: str) -> zipfile.ZipInfo:
        at = self.at.timetuple()
        entry = zipfile.ZipInfo(name, (max(at.tm_year, 1980), *at[1:6]))
        entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        return entry


async def write_pack(
    connection: AsyncConnection, target: IO[bytes], terms: PackTerms, signer: ManifestSigner | None
) -> str:
    """Write the pack and return the SHA-256 (hex) of its manifest. Reads only.

    The connection is in a READ COMMITTED transaction and sees everything.
    """
    positions = await positions_at(connection, terms.mode, terms.at, statement_age_max=terms.statement_age_max)
    documents = [reconciliation_document(one, None) for one in positions]
    parameters = {"at": terms.at, "mode": terms.mode.value, "since": terms.at - terms.history}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        pack = _Pack(archive, terms.at)
        await pack.add("README.md", _text(README))
        await pack.add("position.json", _text(canonical_json(documents).decode() + "\n", len(documents)))
        for name, sql in (("customer_balances", BALANCES), ("merchants", MERCHANTS)):
            await pack.add(f"{name}.csv", _csv(_batches(connection, sql, parameters)))
        await pack.add("bank_accounts.csv", _csv(_once([bank for one in documents for bank in _bank_rows(one)])))
        await pack.add("chart_of_accounts.csv", _csv(_batches(connection, OWN_ACCOUNTS, parameters)))
        for name, sql in HISTORY.items():
            await pack.add(f"{name}.ndjson", _ndjson(_batches(connection, sql, parameters), terms.at))
        await pack.add("contacts.md", _text(CONTACTS))
        manifest = canonical_json(_manifest(pack, terms)) + b"\n"
        await pack.add("manifest.json", _text(manifest.decode()), listed=False)
        digest = hashlib.sha256(manifest)
        if signer is not None:
            signature = canonical_json(_signature(signer, digest.digest())) + b"\n"
            await pack.add("manifest.signature.json", _text(signature.decode()), listed=False)
    return digest.hexdigest()


def _manifest(pack: _Pack, terms: PackTerms) -> Document:
    return {
        "format": FORMAT,
        "as_of": rfc3339(terms.at),
        "mode": terms.mode.value,
        "history_from": rfc3339(terms.at - terms.history),
        "files": sorted(pack.files, key=lambda one: str(one["name"])),
    }


def _signature(signer: ManifestSigner, content_hash: bytes) -> Document:
    key_id, signature = signer.sign(content_hash)
    return {
        "signed": "sha256 of manifest.json",
        "key_id": key_id,
        "signature": base64.b64encode(signature).decode(),
        "public_key": dict(signer.public_key()),
    }


def _bank_rows(document: Document) -> list[dict[str, Any]]:
    return [{"currency": document["currency"], **bank} for bank in document["bank_accounts"]]


async def _batches(
    connection: AsyncConnection, sql: str, parameters: Mapping[str, Any]
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield the rows in batches by a cursor of the server's."""
    async with connection.cursor(name="resolution_pack", row_factory=dict_row) as cursor:
        await cursor.execute(sql.encode(), parameters)
        while rows := await cursor.fetchmany(ROWS_AT_A_TIME):
            yield rows


async def _once(rows: list[dict[str, Any]]) -> AsyncIterator[list[dict[str, Any]]]:
    if rows:
        yield rows


async def _text(text: str, rows: int = 0) -> AsyncIterator[tuple[int, bytes]]:
    yield rows, text.encode()


async def _csv(batches: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[tuple[int, bytes]]:
    """Yield CSV with one line of names first; a file without rows is empty."""
    first = True
    async for rows in batches:
        lines = io.StringIO()
        written = csv.writer(lines, lineterminator="\n")
        if first:
            written.writerow(rows[0])
            first = False
        written.writerows(_cells(row) for row in rows)
        yield len(rows), lines.getvalue().encode()


def _cells(row: Mapping[str, Any]) -> Iterable[Any]:
    for name, value in row.items():
        if name == "account":
            yield public_account_id(value) if "/" in value else value
        elif name == "name" and isinstance(value, str) and value.startswith(_FORMULA):
            yield f"'{value}"
        else:
            yield rfc3339(value) if isinstance(value, datetime) else value


async def _ndjson(batches: AsyncIterator[list[dict[str, Any]]], at: datetime) -> AsyncIterator[tuple[int, bytes]]:
    async for rows in batches:
        documents = [_aged(row["document"], at) for row in rows]
        yield len(rows), b"".join(canonical_json(document) + b"\n" for document in documents)


def _aged(document: Document, at: datetime) -> Document:
    """Return a break with the age it had at the pack's instant, anything else as it is."""
    if document["object"] != "safeguarding_break":
        return document
    return {**document, "age_days": age_days(document, at)}
