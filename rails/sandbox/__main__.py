"""`python -m rails.sandbox --port N --data DIR`: start the sandbox rails as a process of their own."""

import argparse
import os
import socket
import sys
from pathlib import Path

import uvicorn

from rails.sandbox.callbacks import CallbackCourier
from rails.sandbox.faults import FaultPlan
from rails.sandbox.journal import Journal
from rails.sandbox.server import RefusingPort, build_app
from rails.sandbox.truth import Truth

KEEP_ALIVE_SECONDS = 120
"""Longer than any client keeps an idle connection, so that a pooled one is never closed under it."""


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Return the parsed command line; the secret may also come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m rails.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0 takes a free port and prints it")
    parser.add_argument("--data", type=Path, required=True, help="folder of truth.jsonl")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--callback-url", default=None, help="where chargebacks are posted")
    parser.add_argument("--callback-secret", default=os.environ.get("LEDGERLINE_RAIL_CALLBACK_SECRET", ""))
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Serve until a signal; returns the exit status."""
    options = read_arguments(arguments)
    if options.callback_url and not options.callback_secret:
        sys.stderr.write("rails sandbox: --callback-url needs a --callback-secret to sign with\n")
        return 2
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        sys.stderr.write(f"rails sandbox: port {options.port} of {options.host} cannot be used: {error.strerror}\n")
        return 1
    try:
        journal = Journal(options.data / "truth.jsonl")
    except BlockingIOError:
        sys.stderr.write(f"rails sandbox: another process already keeps the truth in {options.data}\n")
        return 1
    truth = Truth(journal)
    refusing = RefusingPort(options.host)
    faults = FaultPlan(on_hit=truth.note_fault)
    courier = CallbackCourier(truth, url=options.callback_url, secret=options.callback_secret, faults=faults)
    config = uvicorn.Config(
        build_app(truth, courier, faults, refusing.number),
        access_log=False,
        log_level="critical",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )
    sys.stdout.write(f"rails sandbox listening on http://{options.host}:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listening])
    refusing.close()
    journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
