"""Every setting of every Ledgerline process, in one frozen class read from the environment.

All are optional on one machine: `ledgerline up` fills in what it starts itself and hands it to its
children as environment. Secrets are never settings here, only the files they are in (mode 0600).
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.fixed_time import read_fixed_time

ENVIRONMENT_PREFIX = "LEDGERLINE_"
ROOT = Path(__file__).resolve().parent

LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """Environment variables `LEDGERLINE_<FIELD>`; a port of 0 picks a free one (and keeps it in the home)."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(
        default=Path(".ledgerline"),
        description="Folder of everything one instance keeps: databases, secrets, logs, sandbox.json.",
    )
    api_host: str = Field(default="127.0.0.1", description="Address the API listens on; 0.0.0.0 in a container.")
    api_port: int = Field(default=8080, ge=0, le=65535, description="TCP port of the API.")
    api_public_url: str | None = Field(
        default=None, description="Where clients reach the API (for links); default http://127.0.0.1:<api_port>."
    )
    database_url: str | None = Field(
        default=None,
        description="libpq URL with which the worker and poster connect (role ledgerline_app). Set: no embedded "
        "PostgreSQL; `ledgerline up` then migrates with database_admin_url, or with this URL if that is not set.",
    )
    database_api_url: str | None = Field(
        default=None, description="libpq URL with which HTTP reads connect (role ledgerline_api, row level security)."
    )
    database_admin_url: str | None = Field(
        default=None,
        description="libpq URL that may create roles and run migrations; only `up` and `migrate` use it.",
    )
    database_connections_max: int = Field(
        default=16, ge=2, description="Connections one process keeps to PostgreSQL, writes and reads together."
    )
    postgres_port: int | None = Field(
        default=None, ge=0, le=65535, description="TCP port of the embedded PostgreSQL; default a free one."
    )
    temporal_address: str | None = Field(
        default=None, description="host:port of a Temporal server. Set: no dev server is started."
    )
    temporal_namespace: str = Field(default="default", description="Temporal namespace of all workflows.")
    temporal_port: int = Field(default=7233, ge=0, le=65535, description="TCP port of the Temporal dev server.")
    temporal_ui_port: int = Field(default=8233, ge=0, le=65535, description="TCP port of the Temporal web UI.")
    temporal_ui_url: str | None = Field(
        default=None, description="Where people reach the Temporal UI (for links, and the codec's CORS origin)."
    )
    rails_url: str | None = Field(
        default=None, description="URL of the sandbox rails. Set: `ledgerline up` starts no sandbox rails."
    )
    rails_port: int | None = Field(
        default=None, ge=0, le=65535, description="TCP port of the sandbox rails; default a free one."
    )
    rails_file: Path | None = Field(
        default=None,
        description="TOML with one line for each rail that is switched on beside the sandbox's; "
        "default <home>/rails.toml, which need not exist.",
    )
    reconciliation_file: Path | None = Field(
        default=None,
        description="TOML with what was agreed with each rail about its files: zone, cut-off, tolerance, grace; "
        "default <home>/reconciliation.toml, which need not exist. Read again when it changes.",
    )
    codec_keys_file: Path | None = Field(
        default=None,
        description="Keys that encrypt Temporal payloads, made by the codec if missing and the same for every process; "
        "default <home>/secrets/codec_keys.json.",
    )
    vault_keys_file: Path | None = Field(
        default=None,
        description="Keys that wrap the vault's data keys, made by the vault if missing; "
        "default <home>/secrets/vault_keys.json.",
    )
    audit_key_file: Path | None = Field(
        default=None,
        description="Ed25519 key that signs audit records, made by the audit log if missing; "
        "default <home>/secrets/audit_key.json.",
    )
    webhook_keys_file: Path | None = Field(
        default=None,
        description="Keys that wrap the signing secrets of webhook endpoints, made if missing and the same for every "
        "process; default <home>/secrets/webhook_keys.json.",
    )
    webhook_response_seconds: float = Field(
        default=15.0, gt=0, le=60, description="How long a webhook endpoint may take to answer."
    )
    callback_secret_file: Path | None = Field(
        default=None,
        description="Secret with which rails sign what they call back; default <home>/secrets/callback_secret.",
    )
    challenge_secret_file: Path | None = Field(
        default=None,
        description="Secret that signs the sandbox's challenge pages; default <home>/secrets/challenge_secret.",
    )
    risk_model_path: Path = Field(
        default=ROOT / "risk" / "artifacts", description="Folder of the CatBoost model that scores charges."
    )
    fx_rates_file: Path | None = Field(
        default=None,
        description="JSON of mid rates for FX quotes, read again when it changes; default the sandbox rates shipped "
        "in api/sandbox_fx_rates.json, which price test mode only.",
    )
    fx_rates_age_hours_max: float = Field(
        default=48.0, gt=0, description="Age of rates (not of sandbox ones) above which nothing is quoted."
    )
    fx_quote_seconds: float = Field(default=60.0, gt=0, le=3600, description="How long an FX quote may be used.")
    fx_spread_basis_points: int = Field(
        default=25, ge=0, le=5000, description="What an FX quote takes off the mid rate, in 1/10000."
    )
    codec_for_loopback: bool = Field(
        default=False,
        description="Whether the Temporal UI's browser on this machine may decode payloads without a key; "
        "`ledgerline up` switches it on for its sandbox. Leave it off where others share the machine.",
    )
    sync_budget_seconds: float = Field(
        default=10.0, gt=0, description="How long a request waits for an outcome before answering 202 or 409."
    )
    workflow_tasks_max: int = Field(default=64, ge=2, description="Workflow tasks one worker runs at a time.")
    activities_max: int = Field(default=128, ge=1, description="Regular activities one worker runs at a time.")
    local_activities_max: int = Field(default=256, ge=1, description="Local activities one worker runs at a time.")
    workflows_cached_max: int = Field(default=2000, ge=0, description="Workflows one worker keeps in memory.")
    watch_seconds: float = Field(
        default=5.0, ge=0.1, le=3600, description="Pause between two runs of the invariant watch over the ledger."
    )
    watch_patrol_movements: int = Field(
        default=2000, ge=0, le=100_000, description="Old movements the invariant watch verifies again in each run."
    )
    alert_webhook_url: str | None = Field(
        default=None, description="Told of violations in the format of Alertmanager's webhook receiver (version 4)."
    )
    alertmanager_url: str | None = Field(
        default=None, description="Base URL of an Alertmanager that is told of violations (its API v2)."
    )
    pagerduty_routing_key_file: Path | None = Field(
        default=None, description="File with the routing key of a PagerDuty Events v2 integration that is told."
    )
    pagerduty_url: str = Field(
        default="https://events.pagerduty.com/v2/enqueue", description="Where PagerDuty takes events."
    )
    safeguarding_time: str = Field(
        default="09:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="Time of day (HH:MM) as of which each day's safeguarding is reconciled.",
    )
    safeguarding_zone: str = Field(
        default="Europe/London", description="IANA time zone in which the days and that time are kept."
    )
    safeguarding_statement_hours_max: float = Field(
        default=84.0,
        gt=0,
        le=744,
        description="Age of a bank's statement above which it is not compared with; the default spans a long weekend.",
    )
    safeguarding_alert_days: int = Field(
        default=3, ge=0, le=366, description="Days after which an open break of live money raises an alert."
    )
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="TCP port of a standalone worker's /metrics; the API has its own."
    )
    log_level: LogLevel = Field(default="info", description="Lowest level logged.")
    log_format: Literal["json", "console"] = Field(default="json", description="One JSON object a line, or for eyes.")

    @field_validator("safeguarding_zone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        read_fixed_time("00:00", zone)
        return zone

    @property
    def secrets_folder(self) -> Path:
        """Folder of generated secrets, mode 0700."""
        return self.home / "secrets"

    @property
    def sandbox_file(self) -> Path:
        """`sandbox.json`: URLs and test keys of a running instance, mode 0600."""
        return self.home / "sandbox.json"

    @property
    def rails_path(self) -> Path:
        """The rails' configuration in effect."""
        return self.rails_file or self.home / "rails.toml"

    @property
    def reconciliation_path(self) -> Path:
        """The terms of reconciliation in effect."""
        return self.reconciliation_file or self.home / "reconciliation.toml"

    @property
    def codec_keys_path(self) -> Path:
        """The codec's key file in effect."""
        return self.codec_keys_file or self.secrets_folder / "codec_keys.json"

    @property
    def vault_keys_path(self) -> Path:
        """The vault's key file in effect."""
        return self.vault_keys_file or self.secrets_folder / "vault_keys.json"

    @property
    def audit_key_path(self) -> Path:
        """The audit log's key file in effect."""
        return self.audit_key_file or self.secrets_folder / "audit_key.json"

    @property
    def webhook_keys_path(self) -> Path:
        """The key file of webhook secrets in effect."""
        return self.webhook_keys_file or self.secrets_folder / "webhook_keys.json"

    @property
    def callback_secret_path(self) -> Path:
        """The callback secret's file in effect."""
        return self.callback_secret_file or self.secrets_folder / "callback_secret"

    @property
    def challenge_secret_path(self) -> Path:
        """The challenge secret's file in effect."""
        return self.challenge_secret_file or self.secrets_folder / "challenge_secret"

    @property
    def api_url(self) -> str:
        """Where clients reach the API."""
        return self.api_public_url or f"http://127.0.0.1:{self.api_port}"


def environment_name(field: str) -> str:
    """Return the environment variable of a setting: `api_port` is `LEDGERLINE_API_PORT`."""
    assert field in Settings.model_fields
    return f"{ENVIRONMENT_PREFIX}{field.upper()}"
