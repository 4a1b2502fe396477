"""How commands ask the running instance: over its own API, with its admin key."""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import httpx
import typer

from commands.configured import running_instance, settings_or_exit


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the API's answer, or print its problem in one line and exit with 1."""
    instance = running_instance(settings_or_exit())
    headers = {"Authorization": f"Bearer {instance['admin_key']}"}
    if method == "POST":
        headers["Idempotency-Key"] = f"cli_{secrets.token_hex(12)}"
    try:
        answer = httpx.request(method, instance["api_url"] + path, json=body, headers=headers, timeout=30)
    except httpx.TransportError as error:
        raise _no_answer(instance, error) from error
    content: dict[str, Any] = answer.json() if answer.content else {}
    if not answer.is_success:
        raise _refused(answer.status_code, content)
    return content


def download(path: str, body: dict[str, Any], to: Path) -> int:
    """Write what the API answers to a POST into a new file, mode 0600, and return its size in bytes.

    A file that is there already is left alone: exit with 1, as for a problem.
    """
    instance = running_instance(settings_or_exit())
    headers = {"Authorization": f"Bearer {instance['admin_key']}"}
    try:
        with httpx.stream(
            "POST", instance["api_url"] + path, json=body, headers=headers, timeout=httpx.Timeout(30, read=600)
        ) as answer:
            if not answer.is_success:
                answer.read()
                raise _refused(answer.status_code, answer.json())
            with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                return file.tell()
    except httpx.TransportError as error:
        raise _no_answer(instance, error) from error
    except OSError as error:
        print(f"{to} cannot be written: {error.strerror}.", file=sys.stderr)
        raise typer.Exit(1) from error


def _no_answer(instance: dict[str, Any], error: Exception) -> typer.Exit:
    print(f"The API at {instance['api_url']} does not answer ({error}).", file=sys.stderr)
    return typer.Exit(1)


def _refused(status: int, content: dict[str, Any]) -> typer.Exit:
    print(f"{status} {content.get('code')}: {content.get('detail')}", file=sys.stderr)
    return typer.Exit(1)
