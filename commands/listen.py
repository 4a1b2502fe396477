"""`ledgerline listen`: forward the sandbox's events to a server on this machine, signed, and print them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from commands.configured import running_instance, settings_or_exit
from embedded.home import write_private
from events.signing import SignatureKind, SigningSecret, new_secret, signed_headers

WAIT_SECONDS = 25
AGAIN_SECONDS = 2.0
RESPONSE_SECONDS_MAX = 15.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def listen(
    forward_to: Annotated[str | None, typer.Option(help="Where to POST each event; only printed without it.")] = None,
    events: Annotated[str | None, typer.Option(help="One type, or a family such as `charge.*`.")] = None,
    after: Annotated[int | None, typer.Option(min=0, help="Begin after this sequence; default: from now on.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Leave after so many events.")] = None,
) -> None:
    """Print events as they happen until Ctrl-C. What the server does not take is not sent again.

    The signing secret is printed; it stays the same for this home.
    """
    settings = settings_or_exit()
    instance = running_instance(settings)
    secret = _secret(settings.secrets_folder / "listen_secret")
    print(f"signing secret: {secret.text}", flush=True)
    with (
        httpx.Client(
            base_url=instance["api_url"],
            headers={"Authorization": f"Bearer {instance['test_key']}"},
            timeout=WAIT_SECONDS + 10,
        ) as api,
        httpx.Client(timeout=RESPONSE_SECONDS_MAX) as server,
    ):
        try:
            for number, event in enumerate(_events(api, events, after), 1):
                print(f"{event['created_at']}  --> {event['sequence']:>6}  {event['type']}  {event['id']}", flush=True)
                if forward_to is not None:
                    print(f"{' ' * 28} <-- {_forward(server, forward_to, secret, event)}", flush=True)
                if number == count:
                    return
        except KeyboardInterrupt:
            return


def _events(api: httpx.Client, wanted: str | None, after: int | None) -> Iterator[dict[str, Any]]:
    """Yield the sandbox's events as they happen; an API that is away is waited for."""
    while True:
        query = {"type": wanted, "after": after or 0, "wait": 0 if after is None else WAIT_SECONDS}
        try:
            answer = api.get("/v1/events", params={name: value for name, value in query.items() if value is not None})
        except httpx.TransportError:
            time.sleep(AGAIN_SECONDS)
            continue
        if answer.status_code in (401, 403, 422):
            print(f"{answer.status_code} {answer.json().get('detail')}")
            raise typer.Exit(1)
        if not answer.is_success:
            time.sleep(AGAIN_SECONDS)
            continue
        page = answer.json()
        if after is None:
            after = int(page["last_sequence"])
            print(f"listening after event {after}", flush=True)
            continue
        for event in page["data"]:
            yield event
            after = event["sequence"]


def _forward(server: httpx.Client, url: str, secret: SigningSecret, event: dict[str, Any]) -> str:
    """Send one event, and return what came back in words."""
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"content-type": "application/json", **signed_headers([secret], event["id"], body)}
    try:
        return f"{server.post(url, content=body, headers=headers).status_code} {url}"
    except httpx.TransportError as error:
        return f"{type(error).__name__} {url}"


def _secret(path: Path) -> SigningSecret:
    if not path.exists():
        write_private(path, new_secret(SignatureKind.V1).text)
    return SigningSecret(kind=SignatureKind.V1, text=path.read_text())
