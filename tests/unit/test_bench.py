"""The benchmark's own arithmetic, its closed loop, and its HTTP client against a tiny server."""

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from bench.arithmetic import distribution, median_ratio, per_operation_ms, percentile, rounded
from bench.closed_loop import Cell, CellRun, Sample, run_closed_loop
from bench.cpu import CpuMeter, ProcessTree
from bench.end_to_end import CHARGE, IN_FLIGHT, PROMISE_MS, Measured, Plan, summaries
from bench.http_client import BrokenAnswerError, HttpAnswer, KeepAliveConnection
from bench.load import check_charge, fresh_keys, open_load
from bench.machine import provenance
from bench.peers import FOUR_ACTIVITIES, NO_OP
from bench.report import print_end_to_end, shown, write_result
from bench.station import Station, StationFailure

SETTLED = {"status": "settled", "fee": 158, "attempts": [{"latency_ms": 2.5}, {"latency_ms": 4.0}]}


def test_percentiles_are_measured_samples_by_nearest_rank() -> None:
    """The textbook's example, and the ends."""
    samples = [50.0, 15.0, 40.0, 20.0, 35.0]
    assert [percentile(samples, p) for p in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    assert percentile([7.0], 99) == 7.0
    assert percentile(list(range(1, 101)), 99) == 99
    with pytest.raises(ValueError):
        percentile([], 50)


def test_distribution_of_nothing_is_none() -> None:
    """No figure is invented."""
    assert distribution([]) is None
    assert distribution([1.0, 2.0, 3.0, 4.0]) == {"p50": 2.0, "p95": 4.0, "p99": 4.0, "mean": 2.5, "max": 4.0}


def test_cpu_per_operation_adds_up() -> None:
    """3 s for 200 operations are 15 ms; without operations there is nothing to divide by."""
    assert per_operation_ms({"a": 3.0, "b": 1.0}, 200) == {"a": 15.0, "b": 5.0, "total": 20.0}
    assert per_operation_ms({"a": 3.0}, 0) == {}


def test_ratios_compare_within_a_round() -> None:
    """A machine half as fast in the second round changes no ratio; a round that lacks one is left out."""
    assert median_ratio([20.0, 40.0], [10.0, 20.0]) == 2.0
    assert median_ratio([20.0, None, 90.0], [10.0, 10.0, 0.0]) == 2.0
    assert median_ratio([None], [1.0]) is None


def test_figures_keep_four_digits() -> None:
    """And zero stays zero."""
    assert [rounded(f) for f in (0.0, 1234.56, 0.00123456, 99.999)] == [0.0, 1235.0, 0.001235, 100.0]
    assert [shown(f) for f in (None, 0.1234, 12.34, 1234.5)] == ["", "0.12", "12.3", "1234"]


async def test_the_closed_loop_keeps_n_in_flight_and_stops_at_the_count() -> None:
    """Never more than N at once, exactly `count` operations, errors counted apart."""
    running, most, number = 0, 0, 0

    async def operation() -> Sample:
        nonlocal running, most, number
        running, number = running + 1, number + 1
        most, mine = max(most, running), number
        await asyncio.sleep(0.001)
        running -= 1
        return Sample(latency_ms=1.0, rail_ms=0.5, error="402 declined" if mine % 5 == 0 else None)

    run = await run_closed_loop([operation] * 4, Cell(case="any", in_flight=4, seconds=9, count=20))
    assert (most, number) == (4, 20)
    assert (len(run.latencies_ms), len(run.rail_ms), run.errors) == (16, 16, {"402 declined": 4})


async def test_the_closed_loop_finishes_what_is_in_flight_when_time_is_up() -> None:
    """A slow operation that began in time is counted, and the clock waits for it."""

    async def operation() -> Sample:
        await asyncio.sleep(0.08)
        return Sample(latency_ms=80.0)

    run = await run_closed_loop([operation] * 2, Cell(case="any", in_flight=2, seconds=0.1))
    assert len(run.latencies_ms) == 4
    assert run.elapsed_seconds >= 0.15


def test_a_wrong_answer_is_an_error_with_a_name() -> None:
    """Only a settled charge with the right fee counts."""

    def check(status: int, body: object) -> tuple[float | None, str | None]:
        return check_charge(HttpAnswer(status, json.dumps(body).encode(), True))

    assert check(201, SETTLED) == (6.5, None)
    assert check(201, SETTLED | {"fee": 159}) == (None, "201 settled with fee 159")
    assert check(202, {"status": "unknown"}) == (None, "202 unknown")
    assert check(503, {"code": "temporarily_unavailable"}) == (None, "503 temporarily_unavailable")
    assert check_charge(HttpAnswer(500, b"<html>", True)) == (None, "500 with a body that is not JSON")


@contextlib.asynccontextmanager
async def tiny_server(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes], list[int]]]:
    """Serve canned answers in turn (the last one for ever); yields URL, requests seen, connections made."""
    seen: list[bytes] = []
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                seen.append(head + await reader.readexactly(length))
                answer = answers[min(len(seen), len(answers)) - 1]
                writer.write(answer[:20])
                await writer.drain()
                await asyncio.sleep(0.001)  # An answer may arrive in pieces.
                writer.write(answer[20:])
                if b"connection: close" in answer or b"CUT" in answer:
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen, connections


def http(body: bytes, *headers: str, status: str = "201 Created") -> bytes:
    """One HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_the_client_keeps_its_connection() -> None:
    """Two exchanges, one connection, and the request is what was asked for."""
    async with tiny_server(http(b'{"a":1}'), http(b"", status="204 No Content")) as (url, seen, connections):
        connection = KeepAliveConnection(url)
        request = connection.encode_post("/v1/charges", {"Idempotency-Key": "k1"}, b"{}")
        assert await connection.exchange(request) == HttpAnswer(201, b'{"a":1}', True)
        assert await connection.exchange(request) == HttpAnswer(204, b"", True)
        await connection.close()
    assert (len(connections), len(seen)) == (1, 2)
    assert seen[0].startswith(b"POST /v1/charges HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nIdempotency-Key: k1\r\n" in seen[0] and seen[0].endswith(b"\r\n\r\n{}")


async def test_the_client_reads_chunks_and_reconnects_when_told_to() -> None:
    """`Connection: close` costs a new connection, not an error."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\n\r\n"
    async with tiny_server(chunked, http(b"x", "connection: close"), http(b"y")) as (url, _, connections):
        connection = KeepAliveConnection(url)
        request = connection.encode_post("/", {}, b"")
        assert [(await connection.exchange(request)).body for _ in range(3)] == [b"abcdefg", b"x", b"y"]
        await connection.close()
    assert len(connections) == 2


async def test_a_cut_answer_is_an_error_and_the_next_request_gets_a_new_connection() -> None:
    """Half an answer is none."""
    cut = b"HTTP/1.1 201 Created\r\ncontent-length: 50\r\n\r\nCUT"
    async with tiny_server(cut, http(b"y")) as (url, _, connections):
        connection = KeepAliveConnection(url)
        request = connection.encode_post("/", {}, b"")
        with pytest.raises(BrokenAnswerError):
            await connection.exchange(request)
        assert (await connection.exchange(request)).body == b"y"
        await connection.close()
    assert len(connections) == 2


async def test_the_load_generator_sends_a_new_key_each_time_and_checks_every_answer() -> None:
    """Good answers are timed with the rail's part, others named and counted."""
    good, bad = http(json.dumps(SETTLED).encode()), http(b'{"status":"declined"}', status="402 Payment Required")
    async with (
        tiny_server(good, bad, good) as (url, seen, _),
        open_load({"api_url": url, "test_key": "sk_test_x"}) as run_cell,
    ):
        run = await run_cell(Cell(case="charge", in_flight=2, seconds=5, count=10))
    assert (len(run.latencies_ms), run.errors) == (9, {"402 declined": 1})
    assert run.rail_ms == [6.5] * 9
    keys = {request.split(b"Idempotency-Key: ")[1].split(b"\r\n")[0] for request in seen}
    assert len(keys) == 10
    assert next(fresh_keys()) != next(fresh_keys())


async def test_nobody_listening_is_an_error_of_the_cell() -> None:
    """The generator itself does not hide a server that is not there."""
    with pytest.raises(OSError):
        async with open_load({"api_url": "http://127.0.0.1:9", "test_key": "sk_test_x"}) as run_cell:
            await run_cell(Cell(case="charge", in_flight=1, seconds=1))


def measured(case: str, in_flight: int, latency_ms: float, *, rail_ms: float | None = None) -> Measured:
    """A cell of ten equal operations in one second."""
    run = CellRun(
        elapsed_seconds=1.0,
        latencies_ms=[latency_ms] * 10,
        rail_ms=[] if rail_ms is None else [rail_ms] * 10,
        errors={} if rail_ms is None else {"202 unknown": 1},
    )
    cell = Cell(case=case, in_flight=in_flight, seconds=1)
    return Measured(cell=cell, run=run, cpu_seconds={"temporal": latency_ms / 100}, others_cores=0.1)


def result() -> list[Measured]:
    """Two rounds; in the second the machine is half as fast."""
    return [
        cell
        for slow in (1.0, 2.0)
        for in_flight in IN_FLIGHT
        for cell in (
            measured(NO_OP, in_flight, 10.0 * slow),
            measured(FOUR_ACTIVITIES, in_flight, 100.0 * slow),
            measured(CHARGE, in_flight, 30.0 * slow, rail_ms=5.0),
        )
    ]


def test_rounds_become_one_row_with_ratios_to_the_floor_of_the_same_round() -> None:
    """Pooled percentiles, rail's own time taken off, errors added up."""
    rows = {(row["case"], row["in_flight"]): row for row in summaries(result())}
    assert len(rows) == 9
    charge = rows[CHARGE, 8]
    assert charge["latency_ms"] == {"p50": 30.0, "p95": 60.0, "p99": 60.0, "mean": 45.0, "max": 60.0}
    assert charge["core_added_ms"]["p50"] == 25.0 and charge["core_added_ms"]["p99"] == 55.0
    assert charge["ratio_to_floor"]["p50"] == 3.0 and charge["ratio_to_floor"]["cpu_ms"] == 3.0
    assert charge["errors"] == {"202 unknown": 2}
    assert charge["cpu_ms_per_operation"] == {"temporal": 45.0, "total": 45.0}
    assert rows[NO_OP, 8]["ratio_to_floor"] == dict.fromkeys(charge["ratio_to_floor"], 1.0)


def test_a_result_is_printed_and_written_without_naming_the_machine(tmp_path: Path) -> None:
    """Table and file; neither has a host name or a path in it."""
    figures = {"p50": 0.5, "p95": 0.6, "p99": 0.7, "mean": 0.5, "max": 1.0}
    document = {
        "suite": "end_to_end",
        **provenance(Plan(rounds=2).command),
        "promise_ms": PROMISE_MS,
        "cases": summaries(result()),
        "risk_scoring": {"score_ms": figures, "assess_ms": figures},
        "books": {"ok": True, "entries_checked": 80},
    }
    console = Console(width=200, record=True, file=io.StringIO())
    print_end_to_end(document, console)
    printed = console.export_text()
    written = write_result(document, tmp_path / "results").read_text()
    assert "charge over HTTP" in printed and "2× 202 unknown" in printed and "balanced" in printed
    assert json.loads(written)["cases"] == document["cases"]
    assert os.uname().nodename not in written and str(Path.cwd()) not in written


def test_cpu_is_counted_with_children_that_have_ended() -> None:
    """A child that worked and ended still counts, as PostgreSQL's backends must."""
    meter = CpuMeter({"me": ProcessTree(os.getpid())})
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    spent, others = meter.spent()
    assert spent["me"] >= 0.05
    assert others >= 0.0


def test_a_station_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Its own last words, not a hang."""
    with pytest.raises(StationFailure, match="peers"):
        Station("bench.peers", {"temporal_address": "127.0.0.1:9"}, tmp_path / "peers.log")
