"""Which servers one instance consists of, on which ports, and with what environment.

External servers named in the settings replace embedded ones.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from temporalio.service import RPCError

from embedded.home import GeneratedSecrets, Home, write_private
from embedded.postgres import EmbeddedPostgres
from embedded.processes import StartFailure, port_is_free
from embedded.server import HttpServer
from embedded.temporal import EmbeddedTemporal, register_search_attributes
from ledger.migrate import migrate
from settings import ROOT, Settings, environment_name

DATABASE_NAME = "ledgerline"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrls:
    """The same database as three roles: may do everything · worker and poster · HTTP reads."""

    admin_url: str
    app_url: str
    api_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Everything `up` runs; None where an external server is used instead."""

    home: Home
    secrets: GeneratedSecrets
    database: DatabaseUrls
    postgres: EmbeddedPostgres | None
    temporal: EmbeddedTemporal | None
    rails: HttpServer | None
    api: HttpServer
    api_url: str
    rails_url: str
    temporal_address: str
    temporal_namespace: str
    temporal_ui_url: str | None

    def urls(self) -> list[str]:
        """What a person wants to know when it is ready."""
        return [
            "",
            f"  API          {self.api_url}   (docs at {self.api_url}/docs)",
            f"  Temporal UI  {self.temporal_ui_url or 'not known here'}",
            f"  Rails        {self.rails_url}/truth",
            f"  Test key     {self.secrets.test_key}",
            f"  Everything   {self.home.sandbox_file}",
            "",
        ]


def plan_instance(settings: Settings, home: Home) -> Instance:
    """Choose ports, check that they are free, generate missing secrets; start nothing.

    Raises:
        StartFailure: a port is taken. Not retryable.
    """
    secrets = home.secrets()
    api_port = _choose_port(settings, home, "api_port")
    api_url = f"http://127.0.0.1:{api_port}"
    postgres, database = _plan_database(settings, home, secrets)
    temporal = _plan_temporal(settings, home, f"{api_url}/codec")
    rails = _plan_rails(settings, home, api_url, secrets.callback_secret)
    temporal_address = temporal.address if temporal is not None else settings.temporal_address
    rails_url = rails.url if rails is not None else settings.rails_url
    assert temporal_address is not None and rails_url is not None, "what is not external is ours"
    ui_url = temporal.ui_url if temporal is not None else settings.temporal_ui_url
    check_ports(
        {
            "api_port": api_port,
            **({"temporal_port": temporal.port, "temporal_ui_port": temporal.ui_port or 0} if temporal else {}),
            **({"postgres_port": postgres.port} if postgres else {}),
            **({"rails_port": rails.port} if rails else {}),
        }
    )
    environment = {
        "home": str(home.folder),
        "api_port": str(api_port),
        "database_url": database.app_url,
        "database_api_url": database.api_url,
        "temporal_address": temporal_address,
        "temporal_ui_url": ui_url or "",
        "rails_url": rails_url,
        "codec_for_loopback": "true",
    }
    return Instance(
        home=home,
        secrets=secrets,
        database=database,
        postgres=postgres,
        temporal=temporal,
        rails=rails,
        api=_plan_api(home, api_port, {environment_name(name): value for name, value in environment.items()}),
        api_url=api_url,
        rails_url=rails_url,
        temporal_address=temporal_address,
        temporal_namespace=settings.temporal_namespace,
        temporal_ui_url=ui_url,
    )


def _choose_port(settings: Settings, home: Home, field: str) -> int:
    """Return the port of a setting; 0 or nothing configured means one of its own, kept in the home."""
    return home.choose_port(field, getattr(settings, field))


def _plan_temporal(settings: Settings, home: Home, codec_endpoint: str) -> EmbeddedTemporal | None:
    if settings.temporal_address is not None:
        return None
    port, ui_port = (_choose_port(settings, home, field) for field in ("temporal_port", "temporal_ui_port"))
    return EmbeddedTemporal(home.folder, port, ui_port, codec_endpoint=codec_endpoint)


def _plan_api(home: Home, port: int, environment: dict[str, str]) -> HttpServer:
    return HttpServer(
        "The API",
        [sys.executable, str(ROOT / "cli.py"), "api"],
        port=port,
        port_variable=environment_name("api_port"),
        ready_path="/readyz",
        log_path=home.logs_folder / "api.log",
        environment={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        cwd=ROOT,
    )


def check_ports(needed: dict[str, int]) -> None:
    """Check the ports of settings by field name before anything starts.

    Raises:
        StartFailure: the first that is taken, or asked for twice. Not retryable.
    """
    seen: dict[int, str] = {}
    for field, port in needed.items():
        variable = environment_name(field)
        if port in seen:
            raise StartFailure(f"{variable} and {environment_name(seen[port])} are both {port}: give each its own.")
        seen[port] = field
        if not port_is_free(port):
            raise StartFailure(
                f"Port {port} is already in use: set {variable} to a free port (or 0 to have one chosen), "
                "or stop what uses it."
            )


def _plan_database(
    settings: Settings, home: Home, secrets: GeneratedSecrets
) -> tuple[EmbeddedPostgres | None, DatabaseUrls]:
    if settings.database_url is not None:
        admin_url = settings.database_admin_url or settings.database_url
        app_url = settings.database_url
        if settings.database_admin_url is None:
            app_url = _as_role(admin_url, "ledgerline_app", secrets.app_password)
        api_url = settings.database_api_url or _as_role(admin_url, "ledgerline_api", secrets.api_password)
        return None, DatabaseUrls(admin_url=admin_url, app_url=app_url, api_url=api_url)
    port = _choose_port(settings, home, "postgres_port")
    server = EmbeddedPostgres(home.folder, port, secrets.postgres_password)
    return server, DatabaseUrls(
        admin_url=server.url("postgres", secrets.postgres_password, DATABASE_NAME),
        app_url=server.url("ledgerline_app", secrets.app_password, DATABASE_NAME),
        api_url=server.url("ledgerline_api", secrets.api_password, DATABASE_NAME),
    )


def _as_role(url: str, role: str, password: str) -> str:
    """Return the same server and database for another role."""
    parts = urlsplit(url)
    server = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{server}"))


def _plan_rails(settings: Settings, home: Home, api_url: str, callback_secret: str) -> HttpServer | None:
    if settings.rails_url is not None:
        return None
    port = _choose_port(settings, home, "rails_port")
    folder = home.folder / "rails"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "rails.sandbox", "--port", str(port), "--data", str(folder)]
    command += ["--callback-url", f"{api_url}/v1/rails/sandbox/callbacks"]
    return HttpServer(
        "The sandbox rails",
        command,
        port=port,
        port_variable=environment_name("rails_port"),
        ready_path="/healthz",
        log_path=home.logs_folder / "rails.log",
        environment={
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
            "LEDGERLINE_RAIL_CALLBACK_SECRET": callback_secret,
        },
        cwd=ROOT,
        stop_patience_seconds=5.0,
    )


def migrate_database(instance: Instance) -> None:
    """Create the database if it is not there and bring its schema up to date. Idempotent.

    Raises:
        StartFailure: the database refused. Not retryable.
    """
    try:
        if instance.postgres is not None:
            with psycopg.connect(instance.postgres.admin_url, autocommit=True) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE_NAME,)).fetchone()
                if found is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE_NAME)))
        migrate(
            instance.database.admin_url,
            app_password=instance.secrets.app_password,
            api_password=instance.secrets.api_password,
        )
    except psycopg.Error as error:
        raise StartFailure(f"The database could not be migrated: {' '.join(str(error).split())}.") from error


def prepare_namespace(instance: Instance) -> None:
    """Give the namespace of an external Temporal server Ledgerline's search attributes. Idempotent.

    Raises:
        StartFailure: the server does not answer or refuses. Not retryable.
    """
    try:
        asyncio.run(register_search_attributes(instance.temporal_address, instance.temporal_namespace))
    except (RPCError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise StartFailure(f"Temporal at {instance.temporal_address} cannot be used: {said}.") from error


def write_sandbox_file(instance: Instance) -> None:
    """Write sandbox.json (mode 0600): what tools, checks and `ledgerline demo` need of a running instance."""
    content = {
        "api_url": instance.api_url,
        "test_key": instance.secrets.test_key,
        "admin_key": instance.secrets.admin_key,
        "temporal_address": instance.temporal_address,
        "temporal_ui_url": instance.temporal_ui_url,
        "database_url": instance.database.app_url,
        "database_admin_url": instance.database.admin_url,
        "rails_url": instance.rails_url,
        "pid": os.getpid(),
    }
    write_private(instance.home.sandbox_file, json.dumps(content, indent=2) + "\n")
