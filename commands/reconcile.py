"""`ledgerline reconcile`: hand in a file of a rail or a bank, and print what came of its lines. Over the API."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from commands.configured import running_instance, settings_or_exit
from domain.money import format_amount

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

WAIT_SECONDS_MAX = 600.0


@app.command()
def reconcile(
    file: Annotated[Path | None, typer.Argument(help="The file. Left out: the sandbox rail's own, as of now.")] = None,
    rail: Annotated[str, typer.Option(help="Whose file it is; of a bank's statement the bank's name.")] = "card_gamma",
    file_format: Annotated[str, typer.Option("--format", help="acquirer_csv or bank_csv.")] = "acquirer_csv",
    mode: Annotated[str | None, typer.Option(help="test or live: hand it in as an administrator.")] = None,
    lines: Annotated[bool, typer.Option(help="Print every line, not only those that need a person.")] = False,
) -> None:
    """Hand in a file and print what came of it. Handing the same file in again changes nothing."""
    instance = running_instance(settings_or_exit())
    if file is not None and not file.is_file():
        print(f"There is no file {file}.", file=sys.stderr)
        raise typer.Exit(2)
    key = instance["admin_key" if mode is not None else "test_key"]
    api = httpx.Client(base_url=f"{instance['api_url']}/v1", headers={"Authorization": f"Bearer {key}"}, timeout=60)
    try:
        content = file.read_bytes() if file is not None else _sandbox_file(instance, rail, file_format)
        form = {"format": file_format, "rail": rail} | ({"mode": mode} if mode is not None else {})
        document = _answer(api.post("/reconciliation/files", data=form, files={"file": ("file.csv", content)}))
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while document["status"] == "processing" and time.monotonic() < deadline:
            time.sleep(0.2)
            document = _answer(api.get(f"/reconciliation/files/{document['id']}"))
        _show(api, document, all_lines=lines)
    except httpx.TransportError as error:
        print(f"{instance['api_url']} does not answer ({error}).", file=sys.stderr)
        raise typer.Exit(1) from error


def _sandbox_file(instance: dict[str, Any], rail: str, file_format: str) -> bytes:
    kind = "settlement_file" if file_format == "acquirer_csv" else "bank_statement"
    answer = httpx.get(f"{instance['rails_url']}/rails/{quote(rail, safe='')}/{kind}", timeout=30)
    if not answer.is_success:
        print(f"The sandbox writes no {kind} of {rail}.", file=sys.stderr)
        raise typer.Exit(1)
    return answer.content


def _answer(answer: httpx.Response) -> dict[str, Any]:
    content: dict[str, Any] = answer.json()
    if not answer.is_success:
        print(f"{answer.status_code} {content.get('code')}: {content.get('detail')}", file=sys.stderr)
        raise typer.Exit(1)
    return content


def _show(api: httpx.Client, document: dict[str, Any], *, all_lines: bool) -> None:
    names = ("lines", "matched", "exceptions", "duplicates", "missing", "late")
    print(f"{document['id']} {document['status']}: " + ", ".join(f"{document[name]} {name}" for name in names))
    after, more = 0, True
    while more:
        query: dict[str, str | int] = {"after": after, "limit": 100}
        if not all_lines:
            query["status"] = "exception"
        page = _answer(api.get(f"/reconciliation/files/{document['id']}/lines", params=query))
        more = page["has_more"]
        for line in page["data"]:
            after = line["number"]
            net, about = format_amount(line["net"], line["currency"]), line["exception"] or line["subject"] or "-"
            print(f"{after:>6}  {line['status']:<9}  {line['kind']:<10}  {line['reference']}  {net}  {about}")
            if line["detail"]:
                print(f"        {line['detail']}")
