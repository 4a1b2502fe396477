"""A time-skipping Temporal server with a worker whose effects are fakes of the ports; workflows run in the sandbox."""

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from domain.charge import Charge
from domain.identifiers import Mode
from domain.ledger import KeyClaim
from tests.workflows.fakes import FakeAssessment, FakeBook, FakeRails, FakeRecords, FakeStop
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import StartCharge
from workflows.policies import PAYMENTS_QUEUE
from workflows.registry import PAYMENT_WORKFLOWS
from workflows.search_attributes import ALL_KEYS


@dataclass
class World:
    """One test's server, fakes and client."""

    environment: WorkflowEnvironment
    client: Client
    book: FakeBook
    rails: FakeRails
    assessment: FakeAssessment
    stop: FakeStop

    def charge(self, **changes: Any) -> Charge:
        """A charge of 84.20 EUR, not started yet."""
        terms: dict[str, Any] = {
            "id": "ch_" + uuid.uuid4().hex,
            "merchant_id": "mer_a",
            "mode": Mode.TEST,
            "amount_minor": 8420,
            "currency": "EUR",
            "source": "tok_visa_4291",
            "account": "acct_a_eur",
            "workflow_id": "w",
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        return Charge(**(terms | changes))

    async def start(self, charge: Charge) -> WorkflowHandle[ChargeWorkflow, dict[str, Any]]:
        """Start a charge's workflow."""
        return await self.client.start_workflow(
            ChargeWorkflow.run,
            StartCharge(charge=charge, claim=claim(charge.id), challenge_url="https://challenge.example/x"),
            id=f"mer_a/test/{charge.id}",
            task_queue=PAYMENTS_QUEUE,
        )

    async def run(self, charge: Charge) -> dict[str, Any]:
        """Run a charge to its end, skipping time."""
        return await (await self.start(charge)).result()


def claim(object_id: str, key: str = "key") -> KeyClaim:
    """A claim of an idempotency key."""
    return KeyClaim(
        key=key, fingerprint="f", route="/v1/charges", request={}, object_kind="charge", object_id=object_id
    )


@pytest.fixture(scope="session")
def test_server_path() -> str:
    """The time-skipping server's executable, from its package."""
    path = Path(sys.executable).parent / "temporal-test-server"
    assert path.exists(), path
    return str(path)


@asynccontextmanager
async def open_world(environment: WorkflowEnvironment) -> AsyncIterator[World]:
    """A worker with fresh fakes on a server."""
    client = environment.client
    book = FakeBook()
    rails, assessment, records, stop = FakeRails(book), FakeAssessment(book), FakeRecords(book), FakeStop()
    await register_search_attributes(client)
    worker = Worker(
        client,
        task_queue=PAYMENTS_QUEUE,
        workflows=PAYMENT_WORKFLOWS,
        activities=[
            book.post,
            rails.attempt,
            rails.inquire,
            assessment.assess_charge,
            assessment.plan_payout,
            records.read_object,
            records.read_fee_standing,
            stop.payouts_stopped,
        ],
    )
    async with worker:
        yield World(environment, client, book, rails, assessment, stop)


async def register_search_attributes(client: Client) -> None:
    """Make the server know Ledgerline's search attributes."""
    kinds = {"Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT}
    request = AddSearchAttributesRequest(
        namespace=client.namespace,
        search_attributes={key.name: kinds["Int" if "Amount" in key.name else "Keyword"] for key in ALL_KEYS},
    )
    with suppress(RPCError):  # they are there already
        await client.operator_service.add_search_attributes(request)


@pytest.fixture
async def world(test_server_path: str) -> AsyncIterator[World]:
    """A fresh world per test."""
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=test_server_path, data_converter=pydantic_data_converter
    )
    async with open_world(environment) as opened:
        yield opened
    await environment.shutdown()
