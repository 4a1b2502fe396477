"""`python -m rails.sandbox.acquirer --port N --admin-port M --data DIR`: start the acquirer as a process of its own."""

import argparse
import asyncio
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rails.sandbox.acquirer.book import AcquirerBook
from rails.sandbox.acquirer.host import AcquirerHost
from rails.sandbox.journal import Journal


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m rails.sandbox.acquirer", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="for terminals; 0 takes a free one and prints it")
    parser.add_argument("--admin-port", type=int, required=True, help="of GET /truth, POST and DELETE /faults")
    parser.add_argument("--data", type=Path, required=True, help="folder of acquirer.jsonl")
    parser.add_argument("--host", default="127.0.0.1")
    return parser.parse_args(arguments)


def build_app(book: AcquirerBook, host: AcquirerHost) -> Starlette:
    """Return the application of the admin port."""

    async def tell_truth(request: Request) -> Response:
        return JSONResponse(book.document())

    async def inject(request: Request) -> Response:
        wanted = await request.json()
        try:
            await host.inject(str(wanted.get("kind")), int(wanted.get("count", 1)))
        except ValueError as error:
            return JSONResponse({"detail": str(error)}, status_code=422)
        return JSONResponse({"port": host.port})

    async def heal(request: Request) -> Response:
        await host.heal()
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/truth", tell_truth, methods=["GET"]),
            Route("/faults", inject, methods=["POST"]),
            Route("/faults", heal, methods=["DELETE"]),
        ]
    )


async def serve(options: argparse.Namespace) -> None:
    """Serve terminals and the admin port until a signal."""
    journal = Journal(options.data / "acquirer.jsonl")
    book = AcquirerBook(journal)
    host = AcquirerHost(book, options.host, options.port)
    await host.start()
    sys.stdout.write(f"acquirer listening on {options.host}:{host.port}\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        build_app(book, host), host=options.host, port=options.admin_port, access_log=False, log_level="critical"
    )
    await uvicorn.Server(config).serve()
    await host.stop()
    journal.close()


if __name__ == "__main__":
    asyncio.run(serve(read_arguments(sys.argv[1:])))
