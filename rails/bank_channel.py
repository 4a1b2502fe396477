"""The way to a bank over HTTP: files go in at one address, the bank's messages wait at another.

Decides how both travel. What a file or a message says is the adapters'. Banks that speak EBICS or SFTP need
another class of the same two methods.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from domain.rail import Outcome, RailAnswer
from rails.configuration import RailConfiguration, required, secret_of
from rails.exchange import Reply, exchange, open_client

SUBMIT_PATH = "/payments"
MAILBOX_PATH = "/mailbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankMessage:
    """One message as the bank holds it for us. `kind` is the bank's word for it, such as camt.054.001.08."""

    kind: str
    body: bytes


Messages = tuple[BankMessage, ...]


class BankChannel:
    """One bank's addresses. Reading the mailbox takes nothing out of it, so that a crash loses nothing."""

    def __init__(self, client: httpx.AsyncClient, *, submit_path: str, mailbox_path: str) -> None:
        self._client = client
        self._submit_path = submit_path
        self._mailbox_path = mailbox_path
        self._turn = asyncio.Lock()
        self._begun = 0
        self._newest: tuple[int, Messages | RailAnswer] = (0, ())

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._client.aclose()

    async def submit(self, body: bytes, content_type: str, *, deadline_seconds: float) -> Reply | RailAnswer:
        """Hand a file to the bank; a failure comes back as the answer it amounts to."""
        return await exchange(
            self._client,
            "POST",
            self._submit_path,
            deadline_seconds=deadline_seconds,
            headers={"Content-Type": content_type},
            body=body,
        )

    async def messages(self, *, deadline_seconds: float) -> Messages | RailAnswer:
        """Return every message the bank holds, read after this was asked; UNKNOWN if that failed.

        Questions asked while one reading is under way share the next: a thousand open orders read the
        mailbox once.
        """
        wanted = self._begun + 1
        try:
            async with asyncio.timeout(deadline_seconds), self._turn:
                if self._newest[0] < wanted:
                    self._begun += 1
                    reading = self._begun
                    self._newest = (reading, await self._read(deadline_seconds))
                return self._newest[1]
        except TimeoutError:
            return _unread(f"the mailbox was not read within {deadline_seconds:g} s")

    async def _read(self, deadline_seconds: float) -> Messages | RailAnswer:
        reply = await exchange(self._client, "GET", self._mailbox_path, deadline_seconds=deadline_seconds)
        if isinstance(reply, RailAnswer):
            # A question that failed says nothing about any order, whatever the failure.
            return _unread(f"the mailbox was not read: {reply.detail}")
        if reply.status != 200:
            return _unread(f"the mailbox answered {reply.status}")
        try:
            listed = json.loads(reply.body)
            return tuple(BankMessage(kind=row["type"], body=row["body"].encode()) for row in listed)
        except (ValueError, KeyError, TypeError, AttributeError):
            return _unread("the mailbox cannot be read")


def open_channel(rail: str, configuration: RailConfiguration) -> BankChannel:
    """Return the channel of one line of rails.toml: `url`, and `submit_path`, `mailbox_path`, `user` and
    `password_file` where the bank asks for them.

    Raises:
        ValueError: the line lacks something. Not retryable.
    """
    return BankChannel(
        open_client(required(rail, configuration, "url"), headers=credentials(rail, configuration)),
        submit_path=configuration.get("submit_path", SUBMIT_PATH),
        mailbox_path=configuration.get("mailbox_path", MAILBOX_PATH),
    )


def acknowledges(reply: Reply, file_id: str) -> bool:
    """Tell whether a reply is the bank's own word that it has read this file, whatever it thinks of it.

    Taken (2xx) or refused with a status report in the mailbox (422), a JSON object with the file's `msg_id`.
    Anything else, a 200 of whoever stands in between included, proves nothing.
    """
    if not 200 <= reply.status < 300 and reply.status != 422:
        return False
    try:
        told = json.loads(reply.body)
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("msg_id") == file_id


def credentials(rail: str, configuration: RailConfiguration) -> Mapping[str, str]:
    """Return the headers a bank knows us by, none where no `user` is configured.

    Raises:
        ValueError: the password cannot be read. Not retryable.
    """
    user = configuration.get("user")
    if not user:
        return {}
    password = secret_of(rail, configuration, "password_file")
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def _unread(detail: str) -> RailAnswer:
    return RailAnswer(outcome=Outcome.UNKNOWN, detail=detail)
