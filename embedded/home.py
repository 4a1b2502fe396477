"""LEDGERLINE_HOME: what is kept in it, who may read it, and which supervisor owns it.

Generated secrets are made once and then only read. A lock that the kernel releases with its owner
says whether a supervisor runs; `state.json` remembers ports and the processes it started.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.processes import StartFailure, free_port, port_is_free

FREE_BYTES_MIN = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSecrets:
    """Passwords and keys made at the first start. All URL-safe text; never printed except the API keys."""

    postgres_password: str
    app_password: str
    api_password: str
    callback_secret: str = field(repr=False)
    test_key: str = field(repr=False)
    admin_key: str = field(repr=False)


class Home:
    """One instance's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self.secrets_folder = self.folder / "secrets"
        self.logs_folder = self.folder / "logs"
        self.sandbox_file = self.folder / "sandbox.json"
        self._state_file = self.folder / "state.json"
        self._lock_file = self.folder / "supervisor.lock"
        self._lock: int | None = None

    def prepare(self) -> None:
        """Create the folders, closed to others (root's lets the unprivileged database user pass through).

        Raises:
            StartFailure: not writable, or less than FREE_BYTES_MIN free. Not retryable.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.secrets_folder, self.logs_folder):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)
            probe = self.folder / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise StartFailure(
                f"LEDGERLINE_HOME {self.folder} cannot be written ({error.strerror}): "
                "set LEDGERLINE_HOME to a folder of yours."
            ) from error
        free = shutil.disk_usage(self.folder).free
        if free < FREE_BYTES_MIN:
            raise StartFailure(
                f"The disk of {self.folder} is full: {free // 1_000_000} MB are free and at least "
                f"{FREE_BYTES_MIN // 1_000_000} MB are needed; free some or set LEDGERLINE_HOME to another disk."
            )

    def try_lock(self) -> bool:
        """Become this home's supervisor; False if another lives. The lock ends with this process."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock = descriptor
        return True

    def lock_is_free(self) -> bool:
        """Tell whether no supervisor of this home lives now (by taking the lock and letting go again)."""
        assert self._lock is None, "asked by the owner itself"
        if not self.try_lock():
            return False
        assert self._lock is not None
        os.close(self._lock)
        self._lock = None
        return True

    def owner_pid(self) -> int | None:
        """Return the pid in the lock file: the owner's while the lock is held."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._lock_file.read_text())
        return None

    def read_state(self) -> dict[str, Any]:
        """Return what the last supervisor remembered: `ports`, `processes`, `ready`; empty at first."""
        try:
            state = json.loads(self._state_file.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def update_state(self, **changes: Any) -> None:
        """Merge into the remembered state. Only the lock's owner calls it."""
        assert self._lock is not None, "state belongs to the supervisor"
        write_private(self._state_file, json.dumps({**self.read_state(), **changes}, indent=2))

    def choose_port(self, name: str, configured: int | None) -> int:
        """Return the configured port, or for None and 0 the one used last time if free, or a new free one.

        A chosen port is remembered under `name`, so that URLs survive restarts.
        """
        if configured:
            return configured
        ports = self.read_state().get("ports", {})
        remembered = ports.get(name)
        if isinstance(remembered, int) and port_is_free(remembered):
            return remembered
        chosen = free_port()
        self.update_state(ports={**ports, name: chosen})
        return chosen

    def secrets(self) -> GeneratedSecrets:
        """Return this instance's secrets, making on first use those that are missing. Idempotent.

        Vault, codec and audit log keep key files of their own in the same folder.
        """
        self._secret("challenge_secret", lambda: secrets.token_urlsafe(32))
        return GeneratedSecrets(
            postgres_password=self._secret("postgres_password", lambda: secrets.token_hex(24)),
            app_password=self._secret("app_password", lambda: secrets.token_hex(24)),
            api_password=self._secret("api_password", lambda: secrets.token_hex(24)),
            test_key=self._secret("test_key", lambda: f"sk_test_{secrets.token_urlsafe(32)}"),
            callback_secret=self._secret("callback_secret", lambda: secrets.token_urlsafe(32)),
            admin_key=self._secret("admin_key", lambda: f"ak_{secrets.token_urlsafe(32)}"),
        )

    def _secret(self, name: str, make: Callable[[], str]) -> str:
        path = self.secrets_folder / name
        if not path.exists():
            write_private(path, make())
        return path.read_text()


def write_private(path: Path, content: str) -> None:
    """Write a file only its owner may read (0600), whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
