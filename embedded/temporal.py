"""The Temporal development server with its web UI: flags, search attributes, proof that it is ours.

Histories are kept in a SQLite file in write-ahead mode, so kill -9 loses nothing acknowledged.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from embedded.processes import StartFailure, launch, log_tail, owns_port, port_is_free, rotate_log, stop

NAMESPACE = "default"
RETENTION = timedelta(days=30)
"""How long closed workflows stay readable for the UI and `ledgerline replay`."""

SEARCH_ATTRIBUTES = {
    "LedgerlineMerchant": "Keyword",
    "LedgerlineKind": "Keyword",
    "LedgerlineStatus": "Keyword",
    "LedgerlineRail": "Keyword",
    "LedgerlineCurrency": "Keyword",
    "LedgerlineRiskDecision": "Keyword",
    "LedgerlineAmountMinor": "Int",
}

SQLITE_PRAGMAS = {"journal_mode": "wal", "synchronous": "1", "wal_autocheckpoint": "20000"}
"""Measured: without write-ahead mode a third of the throughput; rare checkpoints halve the tail."""


def temporal_program() -> Path:
    """Return the path of the packaged `temporal` program (or one on PATH).

    Raises:
        StartFailure: neither is there. Not retryable.
    """
    packaged = Path(sys.prefix) / "bin" / "temporal"
    if packaged.exists():
        return packaged
    found = shutil.which("temporal")
    if found is None:
        raise StartFailure("The Temporal server is not installed: run `make up`, which installs it.")
    return Path(found)


class EmbeddedTemporal:
    """One dev server below `home` on 127.0.0.1:`port`; the web UI on `ui_port`, or none if that is None.

    `codec_endpoint` is the URL the UI's browser asks to decode payloads. Use it from the main thread.
    """

    def __init__(self, home: Path, port: int, ui_port: int | None, *, codec_endpoint: str | None = None) -> None:
        self.home = home
        self.port = port
        self.ui_port = ui_port
        self.process: subprocess.Popen[bytes] | None = None
        self._codec_endpoint = codec_endpoint
        self._log = home / "logs" / "temporal.log"

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def namespace(self) -> str:
        """The one namespace used."""
        return NAMESPACE

    @property
    def ui_url(self) -> str | None:
        """Where people look, None when headless."""
        return None if self.ui_port is None else f"http://127.0.0.1:{self.ui_port}"

    def start(self, *, patience_seconds: float = 60.0) -> None:
        """Start the server; return once it answers and has the namespace.

        Raises:
            StartFailure: a port is taken, or it ended; one sentence. Not retryable.
        """
        assert self.process is None or self.process.poll() is not None, "already running"
        for port, variable in ((self.port, "LEDGERLINE_TEMPORAL_PORT"), (self.ui_port, "LEDGERLINE_TEMPORAL_UI_PORT")):
            if port is not None and not port_is_free(port):
                raise StartFailure(f"Port {port} is already in use: Temporal needs it; set {variable} to a free port.")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        rotate_log(self._log)
        before = self._log.stat().st_size if self._log.exists() else 0
        self.process = launch(self._command(), log_path=self._log, environment={"HOME": str(self.home)})
        deadline = time.monotonic() + patience_seconds
        while not owns_port(self.process.pid, self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = [line for line in log_tail(self._log, before).splitlines() if line.strip()]
                last = said[-1].strip() if said else "it said nothing"
                raise StartFailure(f"Temporal could not start ({last}); see {self._log}.")
            time.sleep(0.03)
        try:
            asyncio.run(_await_namespace(self.address, deadline))
        except (RPCError, RuntimeError) as error:
            self.stop()
            raise StartFailure(f"Temporal did not answer in time ({error}); see {self._log}.") from error

    def stop(self) -> None:
        """Stop the server. Idempotent."""
        if self.process is not None:
            stop(self.process, ask=signal.SIGTERM, patience_seconds=15.0)

    def _command(self) -> list[str]:
        command = [str(temporal_program()), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(self.port)]
        command += ["--headless"] if self.ui_port is None else ["--ui-ip", "127.0.0.1", "--ui-port", str(self.ui_port)]
        if self._codec_endpoint is not None and self.ui_port is not None:
            command += ["--ui-codec-endpoint", self._codec_endpoint]
        command += ["--db-filename", str(self.home / "temporal.db"), "--log-format", "json", "--log-level", "warn"]
        for name, setting in SQLITE_PRAGMAS.items():
            command += ["--sqlite-pragma", f"{name}={setting}"]
        for name, kind in SEARCH_ATTRIBUTES.items():
            command += ["--search-attribute", f"{name}={kind}"]
        return command


async def register_search_attributes(address: str, namespace: str) -> None:
    """Add Ledgerline's search attributes to a namespace of a server that is not ours. Idempotent.

    Raises:
        RPCError, RuntimeError: the server can't be reached or refuses. Retryable.
    """
    client = await Client.connect(address, namespace=namespace)
    operator = client.operator_service
    known = (await operator.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))).custom_attributes
    kinds = {"Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT}
    missing = {name: kinds[kind] for name, kind in SEARCH_ATTRIBUTES.items() if name not in known}
    if missing:
        request = AddSearchAttributesRequest(namespace=namespace, search_attributes=missing)
        await operator.add_search_attributes(request)


async def _await_namespace(address: str, deadline: float) -> None:
    """Wait until the server answers for its namespace, then set how long it keeps closed workflows."""
    while True:
        try:
            client = await Client.connect(address)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
            break
        except (RPCError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
    retention = Duration()
    retention.FromTimedelta(RETENTION)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(namespace=NAMESPACE, config=NamespaceConfig(workflow_execution_retention_ttl=retention))
    )
