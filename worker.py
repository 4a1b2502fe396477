"""Composition root of a worker: opens every part from the settings and runs workflows and activities.

`python worker.py` runs a worker alone; the API process opens the same parts and runs the worker beside
the HTTP server, which is what makes eager start and the answer at commit possible.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import prometheus_client
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.assessment import AssessmentActivities
from activities.book import BookActivities
from activities.codec import EncryptionCodec, data_converter, open_codec
from activities.ledger_periods import LedgerPeriodActivities
from activities.rail_notices import NoticeActivities
from activities.rail_records import StoredRailRecords
from activities.rails import RailActivities
from activities.reconciliation import ReconciliationActivities
from activities.records import RecordActivities
from activities.routes import Router
from activities.safeguarding import SafeguardingActivities
from activities.watching import WatchActivities, WatchTerms
from activities.webhook_secrets import CustodianWrapper, WebhookSecrets
from activities.webhooks import WebhookActivities
from audit.signing import AuditSigner
from domain.fixed_time import read_fixed_time
from domain.identifiers import Mode
from domain.outcomes import OutcomeBoard
from events.deliveries import DeliveryBook
from events.sealing import SecretSealer
from events.sending import Sender
from ledger.posting import Poster
from logs import configure_logging
from operations.alert_receivers import AlertReceivers
from operations.file_intake import FileIntake
from operations.notice_delivery import NoticeDelivery
from operations.notice_store import NoticeStore
from operations.rail_inbox import RailInbox
from operations.reconciliation import Reconciler
from operations.reconciliation_store import ReconciliationStore
from operations.safeguarding import SafeguardingTerms
from operations.schedules import ensure_schedules
from operations.waking import waking
from rails.configuration import read_configurations
from rails.health import RailHealth
from rails.registry import Rails, build_rails
from reconciliation.terms import TermsFile
from risk.model import RiskModel
from settings import Settings
from vault.custodian import FileCustodian
from vault.tokens import Vault
from workflows.policies import BACKGROUND_QUEUE, PAYMENTS_QUEUE
from workflows.registry import BACKGROUND_WORKFLOWS, PAYMENT_WORKFLOWS
from workflows.schedules import SCHEDULES

GRACE = timedelta(seconds=10)
"""How long a stopping worker may finish what it runs; whatever is left is run again elsewhere."""

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

_log = logging.getLogger("ledgerline.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything a worker process is made of, opened."""

    settings: Settings
    client: Client
    codec: EncryptionCodec
    pool: Pool
    poster: Poster
    board: OutcomeBoard
    rails: Rails
    router: Router
    vault: Vault
    model: RiskModel | None
    book: BookActivities
    assessment: AssessmentActivities
    rail_activities: RailActivities
    webhook_activities: WebhookActivities
    webhook_secrets: WebhookSecrets
    inbox: RailInbox
    records: RecordActivities


@contextlib.asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open every part, and close them in the reverse order.

    Raises:
        ConnectionError: PostgreSQL or Temporal cannot be reached. Retryable by starting again.
    """
    assert settings.database_url and settings.temporal_address and settings.rails_url
    async with contextlib.AsyncExitStack() as stack:
        codec = open_codec(settings.codec_keys_path)
        client = await _connect(settings, codec)
        pool: Pool = AsyncConnectionPool(
            settings.database_url,
            min_size=2,
            max_size=settings.database_connections_max,
            kwargs={"autocommit": True},
            open=False,
            check=None,
        )
        await pool.open(wait=True, timeout=30)
        stack.push_async_callback(pool.close)
        poster = Poster(settings.database_url, sign=AuditSigner.open(settings.audit_key_path).sign)
        await poster.start()
        stack.push_async_callback(poster.stop)
        rails = build_rails(
            sandbox_url=settings.rails_url,
            configurations=read_configurations(settings.rails_path),
            database_url=settings.database_url,
            records=StoredRailRecords(pool),
            callback_secret=read_secret(settings.callback_secret_path),
        )
        stack.push_async_callback(rails.aclose)
        await rails.start()
        health, board = RailHealth(), OutcomeBoard()
        router = Router(rails=rails, health=health, pool=pool)
        await router.start()
        stack.push_async_callback(router.stop)
        vault = Vault(poster, pool, FileCustodian(settings.vault_keys_path))
        model = _load_model(settings)
        webhooks, secrets = await _open_webhooks(stack, settings, pool, poster)
        delivery = NoticeDelivery(pool=pool, temporal=client, book=poster)
        inbox = RailInbox(rails=rails, store=NoticeStore(pool), delivery=delivery)
        yield Parts(
            settings=settings,
            client=client,
            codec=codec,
            pool=pool,
            poster=poster,
            board=board,
            rails=rails,
            router=router,
            vault=vault,
            model=model,
            book=BookActivities(poster, board),
            assessment=AssessmentActivities(pool=pool, book=poster, board=board, model=model, router=router),
            rail_activities=RailActivities(rails=rails, health=health, vault=vault, pool=pool),
            webhook_activities=webhooks,
            webhook_secrets=secrets,
            inbox=inbox,
            records=RecordActivities(pool),
        )


async def _open_webhooks(
    stack: contextlib.AsyncExitStack, settings: Settings, pool: Pool, poster: Poster
) -> tuple[WebhookActivities, WebhookSecrets]:
    """Return what delivers webhooks and what seals their secrets; live endpoints are reached at public addresses."""
    sealer = SecretSealer(CustodianWrapper(FileCustodian(settings.webhook_keys_path)))
    limit = settings.webhook_response_seconds
    senders = {mode: await stack.enter_async_context(Sender(mode, response_seconds_max=limit)) for mode in Mode}
    deliveries = DeliveryBook(pool, sealer)
    activities = WebhookActivities(pool=pool, book=poster, deliveries=deliveries, senders=senders)
    return activities, WebhookSecrets(pool, sealer)


def build_worker(parts: Parts) -> Worker:
    """Return the worker of queue `payments`.

    Unsandboxed: the tests run every workflow in the sandbox and replay golden histories, which proves
    purity; the sandbox itself would double a worker's CPU per workflow.
    """
    settings = parts.settings
    return Worker(
        parts.client,
        task_queue=PAYMENTS_QUEUE,
        workflows=PAYMENT_WORKFLOWS,
        activities=[
            parts.book.post,
            parts.assessment.assess_charge,
            parts.assessment.plan_payout,
            parts.rail_activities.attempt,
            parts.rail_activities.inquire,
            parts.records.read_object,
            parts.records.read_fee_standing,
            watch_of(parts).payouts_stopped,
        ],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=settings.workflow_tasks_max,
        max_concurrent_activities=settings.activities_max,
        max_concurrent_local_activities=settings.local_activities_max,
        max_cached_workflows=settings.workflows_cached_max,
        graceful_shutdown_timeout=GRACE,
    )


def build_background_worker(parts: Parts) -> Worker:
    """Return the worker of queue `background`: what repeats, waits long or may lag without a customer noticing."""
    notices, watch = NoticeActivities(parts.inbox), watch_of(parts)
    reconciliation = ReconciliationActivities(reconciler_of(parts), files_of(parts))
    terms = safeguarding_terms(parts.settings)
    safeguarding = SafeguardingActivities(pool=parts.pool, book=parts.poster, terms=terms)
    activities: list[Callable[..., Any]] = [
        LedgerPeriodActivities(parts.pool).extend_ledger_periods,
        notices.collect_rail_notices,
        notices.deliver_rail_notices,
        watch.watch_books,
        watch.prove_books,
        watch.deliver_alerts,
        safeguarding.safeguarding_due,
        safeguarding.reconcile_safeguarding,
        parts.webhook_activities.deliver_webhooks,
        reconciliation.match_lines,
        reconciliation.close_file,
        reconciliation.resume_files,
    ]
    return Worker(
        parts.client,
        task_queue=BACKGROUND_QUEUE,
        workflows=BACKGROUND_WORKFLOWS,
        activities=activities,
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=parts.settings.activities_max,
        graceful_shutdown_timeout=GRACE,
    )


@contextlib.asynccontextmanager
async def running_workers(
    parts: Parts, queues: Collection[str] = (PAYMENTS_QUEUE, BACKGROUND_QUEUE)
) -> AsyncIterator[None]:
    """Run the workers of these queues until the block is left; one process serves both unless told otherwise."""
    async with contextlib.AsyncExitStack() as stack:
        if BACKGROUND_QUEUE in queues:
            await ensure_schedules(parts.client, SCHEDULES)
            await stack.enter_async_context(build_background_worker(parts))
            await stack.enter_async_context(waking(parts.client, parts.pool))
        if PAYMENTS_QUEUE in queues:
            await stack.enter_async_context(build_worker(parts))
        yield


def read_secret(path: Path) -> bytes:
    """Return a secret of the home as bytes; none if there is no such file, and nothing is signed with that."""
    try:
        return path.read_text("utf-8").strip().encode()
    except FileNotFoundError:
        return b""


def files_of(parts: Parts) -> FileIntake:
    """Return what takes files of rails and banks in."""
    return FileIntake(
        store=ReconciliationStore(parts.pool), book=parts.poster, temporal=parts.client, rails=parts.rails
    )


def reconciler_of(parts: Parts) -> Reconciler:
    """Return what matches files with the books, under the terms agreed with each rail.

    Raises:
        ValueError: the file of terms is not what it should be. Retryable, once somebody has put it right.
    """
    terms = TermsFile(parts.settings.reconciliation_path)
    terms.of("")
    return Reconciler(ReconciliationStore(parts.pool), parts.poster, parts.client, parts.inbox, parts.rails, terms)


def safeguarding_terms(settings: Settings) -> SafeguardingTerms:
    """Return when safeguarding is reconciled and what counts in it, as configured."""
    return SafeguardingTerms(
        fixed_time=read_fixed_time(settings.safeguarding_time, settings.safeguarding_zone),
        statement_age_max=timedelta(hours=settings.safeguarding_statement_hours_max),
        alert_days=settings.safeguarding_alert_days,
    )


def watch_of(parts: Parts) -> WatchActivities:
    """Return the invariant watch with the receivers of alerts that are configured."""
    settings = parts.settings
    key_file = settings.pagerduty_routing_key_file
    return WatchActivities(
        pool=parts.pool,
        book=parts.poster,
        receivers=AlertReceivers(
            instance=settings.api_url,
            webhook_url=settings.alert_webhook_url,
            alertmanager_url=settings.alertmanager_url,
            pagerduty_url=settings.pagerduty_url,
            pagerduty_routing_key=key_file.read_text().strip() if key_file is not None else None,
        ),
        terms=WatchTerms(pause_seconds=settings.watch_seconds, patrol_movements=settings.watch_patrol_movements),
    )


async def _connect(settings: Settings, codec: EncryptionCodec) -> Client:
    """Return a client of the Temporal server, which may still be starting."""
    assert settings.temporal_address is not None
    for remaining in range(59, -1, -1):
        try:
            return await Client.connect(
                settings.temporal_address,
                namespace=settings.temporal_namespace,
                data_converter=data_converter(codec),
            )
        except (RPCError, RuntimeError) as error:
            if not remaining:
                raise ConnectionError(f"no Temporal server answers at {settings.temporal_address}") from error
            await asyncio.sleep(0.5)
    raise AssertionError("the last try returns or raises")


def _load_model(settings: Settings) -> RiskModel | None:
    """Return the risk model; without one every charge follows its merchant's fallback."""
    try:
        return RiskModel.load(settings.risk_model_path)
    except Exception:
        # The worker must run without a model: rule 13 says what then happens to each charge.
        _log.exception("no risk model at %s: charges follow `on_model_outage`", settings.risk_model_path)
        return None


async def run(settings: Settings, queues: Collection[str] = (PAYMENTS_QUEUE, BACKGROUND_QUEUE)) -> None:
    """Run the workers of these queues until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if settings.metrics_port:
        prometheus_client.start_http_server(settings.metrics_port)
    async with open_parts(settings) as parts, running_workers(parts, queues):
        _log.info("worker ready on %s", ", ".join(queues))
        await stopping.wait()


def main(queues: Collection[str] = (PAYMENTS_QUEUE, BACKGROUND_QUEUE)) -> None:
    """Run a worker with the settings of the environment, then leave at once.

    `os._exit`: the SDK's threads abort a share of processes at exit after success (sdk-python #300).
    """
    settings = Settings()
    configure_logging(settings)
    asyncio.run(run(settings, queues))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
