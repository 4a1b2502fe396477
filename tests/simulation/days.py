"""A world in which days pass in seconds: real database, rails, API and worker on Temporal's time-skipping server.

What skips is Temporal's clock alone. PostgreSQL and the rails keep theirs, so clients act first and days pass
afterwards; a client's order that was lost before it took effect would otherwise look as if it were sent in the
future. The server knows no lists and no schedules: the background queue stays away.
"""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from api.serve import open_app
from embedded.instance import Instance
from embedded.processes import free_port
from settings import Settings
from tests.simulation.crowd import Client, Crowd, Notebook
from tests.simulation.inspection import Inspection, Verdict
from tests.simulation.parts import running_parts, sandbox_of, settings_of
from tests.simulation.stories import ACCOUNT_FUNDS_MINOR, ACCOUNTS, Manners, Step, Story, Teller
from worker import running_workers
from workflows.policies import PAYMENTS_QUEUE
from workflows.search_attributes import ALL_KEYS

DAYS = 40
"""Longer than any authorization lasts, any hold of these stories and any bank's deadline for evidence."""

DAY_SECONDS = 86_400.0
PAUSE_SECONDS = 0.15
"""Real time that workflows get between two days."""

LEFT_ALONE = ("tok_disputed", "tok_timeout_forever", "tok_refund_fails", "tok_3ds", "tok_risk_step_up")


@asynccontextmanager
async def skipping_server() -> AsyncIterator[WorkflowEnvironment]:
    """The time-skipping server of the SDK, with Ledgerline's search attributes."""
    executable = str(Path(sys.executable).with_name("temporal-test-server"))
    environment = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=executable, port=free_port())
    kinds = {"Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT}
    attributes = {key.name: kinds["Int" if "Amount" in key.name else "Keyword"] for key in ALL_KEYS}
    client = environment.client
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=client.namespace, search_attributes=attributes)
    )
    try:
        yield environment
    finally:
        await environment.shutdown()


def address_of(environment: WorkflowEnvironment) -> str:
    """Where the server listens."""
    return environment.client.service_client.config.target_host


@asynccontextmanager
async def serving(instance: Instance) -> AsyncIterator[None]:
    """The instance's API and payments worker in this process."""
    settings = Settings(**settings_of(instance))  # type: ignore[arg-type]
    async with open_app(settings) as (app, parts), running_workers(parts, (PAYMENTS_QUEUE,)):
        config = uvicorn.Config(app, host="127.0.0.1", port=settings.api_port, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        try:
            yield
        finally:
            server.should_exit = True
            await task


async def let_days_pass(
    instance: Instance, environment: WorkflowEnvironment, seed: int, operations: int, *, days: int = DAYS
) -> Verdict:
    """Run a seeded world on the instance, let days pass, act once more, and audit it."""
    verdict = Verdict(seed=seed)
    sandbox = sandbox_of(instance)
    async with serving(instance):
        stories = [*Teller(seed, operations).tell(), *_left_alone(seed)]
        crowd = Crowd(lambda: instance.api_url, instance.secrets.test_key, stories)
        notebook = crowd.notebook
        client = Client(lambda: instance.api_url, instance.secrets.test_key, notebook)
        for account in ACCOUNTS:
            await client.post("/accounts", {"id": account, "currency": "EUR"}, f"open_{account}")
            await client.post(f"/accounts/{account}/fund", {"amount": ACCOUNT_FUNDS_MINOR}, f"fund_{account}")
        crowd.start()
        while crowd.is_busy():
            await asyncio.sleep(0.1)
        await _pass_days(environment, days)
        await _come_too_late(client, notebook, verdict)
        verdict.requests, verdict.retries = len({answer.key for answer in notebook.answers}), notebook.retries
        verdict.findings += notebook.complaints
        await asyncio.to_thread(Inspection(sandbox, notebook, verdict, lists_workflows=False).run)
        verdict.findings += [
            f"{document['id']} is still {document['status']} after {days} days"
            for document in notebook.documents.values()
            if document["status"] in ("authorized", "requires_action", "pending", "processing")
        ]
        await client.close()
    return verdict


async def _pass_days(environment: WorkflowEnvironment, days: int) -> None:
    for _ in range(days):
        await environment.sleep(DAY_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)


async def _come_too_late(client: Client, notebook: Notebook, verdict: Verdict) -> None:
    """Ask for what days ago would have been granted; nothing of it may happen any more."""
    expected = {
        ("charge", "authorized"): ("capture", "authorization_expired"),
        ("charge", "requires_action"): ("authenticate", "charge_declined"),
        ("transfer", "pending"): ("post", "transfer_expired"),
    }
    for document in list(notebook.documents.values()):
        late = expected.get((document["object"], document["status"]))
        if late is None:
            continue
        verb, code = late
        body = {"result": "success"} if verb == "authenticate" else {}
        path = f"/{document['object']}s/{document['id']}/{verb}"
        told = await client.post(path, body, f"late_{document['id']}")
        if (told.status, told.code) != (409, code):
            verdict.findings.append(f"{path}, days too late, was answered {told.status} {told.code}")


def _left_alone(seed: int) -> list[Story]:
    """What nobody comes back to: authorizations, steps, holds, disputes, orders no rail will tell of."""
    dice = random.Random(seed)

    def step(name: str, path: str, **body: object) -> Step:
        body = {"amount": dice.randint(500, 9_000), "currency": "EUR", **body}
        return Step(key=f"days_{seed}_{name}", path=path, body=body, manners=Manners.PLAIN)

    stories = [Story(kind=token, steps=(step(token, "/charges", source=token),)) for token in LEFT_ALONE]
    for number in range(3):
        charge = step(f"hold_{number}", "/charges", source="tok_visa_4291", capture=False, account=ACCOUNTS[0])
        stories.append(Story(kind="authorization left alone", steps=(charge,)))
        source, destination = dice.sample(ACCOUNTS, 2)
        terms = {"source": source, "destination": destination, "pending": True}
        hold = step(f"transfer_{number}", "/transfers", **terms, expires_in_seconds=dice.choice((90_000, 600_000)))
        stories.append(Story(kind="transfer left alone", steps=(hold,)))
    return stories


async def _main(seed: int, seeds: int, operations: int) -> int:
    findings = 0
    for one in range(seed, seed + seeds):
        folder = Path(tempfile.mkdtemp(prefix="ledgerline-days-"))
        os.chmod(folder, 0o711)  # The database server runs as somebody else.
        async with skipping_server() as environment:
            with running_parts(folder / "home", temporal_address=address_of(environment)) as instance:
                verdict = await let_days_pass(instance, environment, one, operations)
        print(verdict, flush=True)
        findings += len(verdict.findings)
        if not verdict.findings:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{seeds} seeds, {DAYS} days each: {findings} findings", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.days", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--operations", type=int, default=100)
    options = parser.parse_args()
    code = asyncio.run(_main(options.seed, options.seeds, options.operations))
    sys.stdout.flush()
    os._exit(code)  # The SDK's threads abort a share of exits (sdk-python #300).
