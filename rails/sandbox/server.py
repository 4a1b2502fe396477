"""The sandbox rails over HTTP: what a call sees, including answers that never come.

Decides the wire only (status codes, cut and held connections, refused ports); what happens to money
is `truth.py`'s.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rails.sandbox.callbacks import CallbackCourier
from rails.sandbox.faults import INQUIRY, Fault, FaultPlan
from rails.sandbox.networks import NETWORKS
from rails.sandbox.orders import MalformedOrderError, Operation, Order, read_order
from rails.sandbox.settlement_files import bank_statement, settlement_file
from rails.sandbox.truth import KeyClosedError, OrderConflictError, Truth

HOLD_SECONDS_MAX = 120.0
ORDER_BYTES_MAX = 100_000


class CutConnection(Response):
    """Promises a body and hangs up: the caller can't know what was done."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"512")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


class HeldConnection(Response):
    """Never answers; ends when the caller gives up, at the latest after HOLD_SECONDS_MAX."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def until_disconnected() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        try:
            await asyncio.wait_for(until_disconnected(), HOLD_SECONDS_MAX)
        except TimeoutError:
            await CutConnection()(scope, receive, send)


class RefusingPort:
    """A port that is bound but not listened on: whoever connects gets a real ECONNREFUSED."""

    def __init__(self, host: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((host, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


class SandboxRails:
    """The endpoints of the sandbox process."""

    def __init__(self, truth: Truth, faults: FaultPlan, refusing_port: int) -> None:
        self._truth = truth
        self._faults = faults
        self._refusing_port = refusing_port

    async def place_order(self, request: Request) -> Response:
        """`POST /rails/{rail}/{kind}`: idempotent on the Idempotency-Key header."""
        rail, kind = request.path_params["rail"], request.path_params["kind"]
        network = NETWORKS.get(rail)
        if network is None or kind not in network.flows:
            return _problem(404, f"there is no {kind} at {rail}")
        fault = self._faults.draw(rail, kind)
        stopped = self._fault_before(fault, request)
        if stopped is not None:
            return stopped
        body = await request.body()
        if len(body) > ORDER_BYTES_MAX:
            return _problem(413, "the order is too large")
        try:
            order = read_order(rail, kind, request.headers.get("idempotency-key"), body)
        except MalformedOrderError as error:
            return _problem(422, str(error))
        await asyncio.sleep(network.latency_seconds)
        return await self._carry_out(order, fault, request)

    async def _carry_out(self, order: Order, fault: Fault | None, request: Request) -> Response:
        try:
            operation = self._truth.take(order)
            if operation is not None and fault is not None and fault.kind == "duplicate":
                operation = self._truth.take(order)
            if operation is not None and fault is not None and fault.kind == "twice":
                self._truth.do_again(operation)
        except OrderConflictError as error:
            return _problem(409, str(error))
        except KeyClosedError as error:
            return _problem(410, str(error), attempted=False)
        if operation is None:
            return self._refuse(request)
        if not operation.answered:
            return HeldConnection()
        if fault is not None:
            disturbed = await _fault_after(fault)
            if disturbed is not None:
                return disturbed
        return _answer(operation, self._truth.now())

    async def inquire(self, request: Request) -> Response:
        """`GET /rails/{rail}/operations/{rail_key}[?close=true]`: what became of an order.

        404 while the key is unknown. With `close=true` an unknown key is closed for good: an order
        that arrives under it later is refused, so "not found" has become "never happened".
        """
        rail, rail_key = request.path_params["rail"], request.path_params["rail_key"]
        if rail not in NETWORKS:
            return _problem(404, f"there is no rail {rail}")
        fault = self._faults.draw(rail, INQUIRY)
        stopped = self._fault_before(fault, request)
        if stopped is not None:
            return stopped
        operation = self._truth.find(rail, rail_key)
        closing = request.query_params.get("close") == "true"
        if operation is not None and fault is not None and fault.kind == "lie_not_found" and not closing:
            # Only inside its horizon: whoever asks to close a key is promised the truth.
            return JSONResponse({"rail_key": rail_key, "closed": False}, status_code=404)
        if operation is None:
            if closing:
                self._truth.close_key(rail, rail_key)
            return JSONResponse({"rail_key": rail_key, "closed": closing}, status_code=404)
        if not operation.inquiry_tells:
            return _problem(504, "the network does not answer questions about this order")
        if fault is not None:
            disturbed = await _fault_after(fault)
            if disturbed is not None:
                return disturbed
        lies = fault is not None and fault.kind == "lie_pending"
        return _answer(operation, operation.at if lies else self._truth.now(), undecided=lies)

    async def decide_dispute(self, request: Request) -> Response:
        """`POST /disputes/{id or reference}/{escalate|won|lost|close}`: play the bank; `{"amount"}` on escalating."""
        dispute = self._truth.dispute(request.path_params["dispute"])
        if dispute is None:
            return _problem(404, "there is no such dispute")
        try:
            wire = json.loads(await request.body() or b"{}")
            amount = wire.get("amount")
            if amount is not None and (type(amount) is not int or amount <= 0):
                raise ValueError("amount must be a positive integer in minor units")
            step = request.path_params["step"]
            self._truth.decide_dispute(dispute, step, amount=amount, due_at=self._truth.now())
        except (ValueError, AttributeError) as error:
            return _problem(409, str(error))
        return JSONResponse({"id": dispute.id, "kind": dispute.kind, "status": dispute.status})

    async def settle(self, request: Request) -> Response:
        """`POST /rails/{rail}/settle {basis_points?=50, fixed?=20}`: the rail's cut-off comes now."""
        rail = request.path_params["rail"]
        if rail not in NETWORKS:
            return _problem(404, f"there is no rail {rail}")
        try:
            wire = json.loads(await request.body() or b"{}")
            price = (wire.get("basis_points", 50), wire.get("fixed", 20))
            if any(type(part) is not int or part < 0 for part in price):
                raise ValueError("basis_points and fixed are whole numbers, not negative")
        except (ValueError, AttributeError) as error:
            return _problem(422, str(error))
        return JSONResponse({"settled": self._truth.settle(rail, *price)})

    async def write_file(self, request: Request) -> Response:
        """`GET /rails/{rail}/settlement_file` and `/bank_statement`: all of it until now, as CSV."""
        rail, write = request.path_params["rail"], request.path_params["file"]
        writers = {"settlement_file": settlement_file, "bank_statement": bank_statement}
        if rail not in NETWORKS or write not in writers:
            return _problem(404, f"there is no {write} of {rail}")
        text = writers[write](rail, self._truth.settled(rail), self._truth.now())
        return Response(text, media_type="text/csv")

    async def tell_truth(self, request: Request) -> Response:
        """`GET /truth`: what was really done, for whoever compares the world's books with ours."""
        return JSONResponse(self._truth.document())

    async def show_health(self, request: Request) -> Response:
        """`GET /healthz`."""
        return JSONResponse({"status": "ok", "rails": sorted(NETWORKS), "refusing_port": self._refusing_port})

    async def inject_fault(self, request: Request) -> Response:
        """`POST /faults {kind, rail?, flow?, count?, seconds?, probability?, delay_ms?, seed?}`."""
        try:
            wire = json.loads(await request.body())
            if not isinstance(wire, dict):
                raise ValueError("the body is not a JSON object")
            self._faults.inject(wire)
        except (ValueError, TypeError) as error:
            return _problem(422, str(error))
        return JSONResponse({"faults": self._faults.document()}, status_code=201)

    async def list_faults(self, request: Request) -> Response:
        """`GET /faults`."""
        return JSONResponse({"faults": self._faults.document()})

    async def clear_faults(self, request: Request) -> Response:
        """`DELETE /faults`: every rail is healthy again."""
        self._faults.clear()
        return JSONResponse({"faults": []})

    def _fault_before(self, fault: Fault | None, request: Request) -> Response | None:
        if fault is None:
            return None
        if fault.kind in ("refuse", "outage"):
            return self._refuse(request)
        if fault.kind == "drop_before":
            return CutConnection()
        if fault.kind == "error500":
            return _problem(500, "injected")
        if fault.kind in ("busy", "slow_recovery"):
            return _problem(503, "injected", attempted=False)
        return None

    def _refuse(self, request: Request) -> Response:
        """Send the caller to the port that refuses connections: nothing was done here."""
        target = request.url.replace(port=self._refusing_port)
        return Response(status_code=307, headers={"Location": str(target)})


async def _fault_after(fault: Fault) -> Response | None:
    if fault.kind == "drop_after":
        return CutConnection()
    if fault.kind == "garble":
        return Response(b'{"outcome": "appro\x00\xff<html>', media_type="application/json")
    if fault.kind == "error500_after":
        return _problem(500, "injected")
    if fault.kind == "delay":
        await asyncio.sleep(fault.delay_ms / 1000)
    return None


def _answer(operation: Operation, now: float, *, undecided: bool = False) -> Response:
    outcome = "pending" if undecided else operation.outcome(now)
    answer: dict[str, Any] = {
        "rail_key": operation.rail_key,
        "reference": operation.reference,
        "kind": operation.kind,
        "amount": operation.amount,
        "currency": operation.currency,
        "outcome": outcome,
        "final_funds": outcome == "approved" and NETWORKS[operation.rail].final_funds,
    }
    if outcome == "declined":
        answer["decline_code"] = operation.code(now)
    return JSONResponse(answer)


def _problem(status: int, detail: str, *, attempted: bool | None = None) -> Response:
    body: dict[str, Any] = {"status": status, "detail": detail}
    if attempted is not None:
        body["attempted"] = attempted
    return JSONResponse(body, status_code=status)


def build_app(truth: Truth, courier: CallbackCourier, faults: FaultPlan, refusing_port: int) -> Starlette:
    """Return the ASGI application of the sandbox process."""
    rails = SandboxRails(truth, faults, refusing_port)
    endpoints: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("POST", "/rails/{rail}/settle", rails.settle),
        ("GET", "/rails/{rail}/{file}", rails.write_file),
        ("POST", "/rails/{rail}/{kind}", rails.place_order),
        ("GET", "/rails/{rail}/operations/{rail_key:path}", rails.inquire),
        ("POST", "/disputes/{dispute}/{step}", rails.decide_dispute),
        ("GET", "/truth", rails.tell_truth),
        ("GET", "/healthz", rails.show_health),
        ("POST", "/faults", rails.inject_fault),
        ("GET", "/faults", rails.list_faults),
        ("DELETE", "/faults", rails.clear_faults),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        courier.start()
        yield
        await courier.stop()

    return Starlette(
        routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in endpoints],
        lifespan=lifespan,
    )
