"""The only map from anything that goes wrong to `application/problem+json` (RFC 9457).

Nothing here echoes what the client sent: a card number pasted into the wrong field must not come back.
"""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg import Error as PsycopgError
from psycopg import OperationalError as PsycopgOperationalError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope
from temporalio.service import RPCError, RPCStatusCode

from ledger.balances import ArchivedError

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "1"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What Temporal answers to a request that is at fault itself. Everything else passes: besides outages it refuses
# an update as FAILED_PRECONDITION while a run's workflow task is retried, and answers ABORTED, INTERNAL or UNKNOWN
# while it starts or its store is busy.
_OUR_FAULT = {
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.ALREADY_EXISTS,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.UNIMPLEMENTED,
    RPCStatusCode.OUT_OF_RANGE,
}

_log = logging.getLogger(__name__)


class Problem(Exception):
    """A request that ends in a problem document.

    Args:
        status: the HTTP status.
        code: a stable snake_case reason, for programs.
        detail: one sentence for people; never contains what the client sent as a value.
        param: the field it is about, dotted for nested ones.
        members: further members, such as the object (`{"charge": {...}}`).
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        param: str | None = None,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.param = param
        self.members = dict(members or {})
        self.headers = dict(headers or {})


def not_found(kind: str) -> Problem:
    """Return the 404 of an object that does not exist or belongs to somebody else."""
    return Problem(404, f"{kind}_not_found", f"There is no such {kind.replace('_', ' ')} in this account and mode.")


def temporarily_unavailable(detail: str) -> Problem:
    """Return the 503 that tells the client to come again with the same key."""
    return Problem(503, "temporarily_unavailable", detail, headers={"Retry-After": RETRY_AFTER_SECONDS})


def request_id_of(scope: Scope) -> str:
    """Return the request's id, as the outermost middleware gave it."""
    return str(scope.get("ledgerline.request_id", ""))


def problem_response(problem: Problem, request_id: str) -> Response:
    """Render a problem document."""
    document: dict[str, Any] = {
        "type": f"urn:ledgerline:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    if problem.param is not None:
        document["param"] = problem.param
    document["request_id"] = request_id
    document.update(problem.members)
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(body, status_code=problem.status, media_type=PROBLEM_TYPE, headers=problem.headers)


def problem_from(error: BaseException) -> Problem:
    """Return what the client is told about an error; anything unforeseen is a plain 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _from_validation(error)
    if isinstance(error, StarletteHTTPException):
        return _from_http(error)
    if isinstance(error, ClientDisconnect):
        return Problem(400, "request_incomplete", "The request ended before its body did. Nothing was done.")
    if isinstance(error, ArchivedError):
        return Problem(410, "instant_archived", f"The instant is not in the book any more: {error}.", param="at")
    if is_database_outage(error):
        return temporarily_unavailable("The database cannot be reached right now. Retry with the same key.")
    if isinstance(error, RPCError) and error.status not in _OUR_FAULT:
        _log.warning("the workflow service answered %s: %s", error.status.name, error.message)
        return temporarily_unavailable("The workflow service cannot take this right now. Retry with the same key.")
    return Problem(500, "internal_error", "Something went wrong on our side. Quote the request id when you report it.")


def is_database_outage(error: BaseException) -> bool:
    """Tell whether an error means that the database is away, not that a statement is wrong."""
    if isinstance(error, PoolTimeoutError | ConnectionError | PsycopgOperationalError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, PsycopgOperationalError)
    return isinstance(error, PsycopgError) and "connection is closed" in str(error)


def _from_validation(error: RequestValidationError) -> Problem:
    # Only paths, queries and headers come this way: bodies are read in api/bodies.py.
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else "request"
    return Problem(422, f"{name}_invalid", f"`{name}` is not valid: {first['msg']}.", param=name)


def _from_http(error: StarletteHTTPException) -> Problem:
    codes = {
        404: ("route_not_found", "There is nothing at this path."),
        405: ("method_not_allowed", "This path does not take this method."),
    }
    code, detail = codes.get(error.status_code, ("request_refused", "The request cannot be served."))
    return Problem(error.status_code, code, detail, headers=error.headers)


def allowed_methods(request: Request) -> list[str]:
    """Return the methods a request's path takes; the router itself names those of the first route only.

    A path written out in the documentation is meant, not one of a pattern that it fits as well: of
    `/events/replay` and `/events/{event_id}` the former.
    """
    written = request.app.openapi()["paths"].get(request.scope["path"])
    if written is not None:
        return [method for method in METHODS if method.lower() in written]
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer any exception; only the unforeseen ones are logged, with their stack, on our side."""
    problem = problem_from(error)
    if problem.status == 500:
        _log.error("request %s failed", request_id_of(request.scope), exc_info=error)
    if problem.status == 405:
        problem.headers["Allow"] = ", ".join(allowed_methods(request))
    return problem_response(problem, request_id_of(request.scope))


def install_errors(app: FastAPI) -> None:
    """Register the one way errors become answers."""
    for kind in (Problem, RequestValidationError, StarletteHTTPException, DBAPIError, PsycopgError):
        app.add_exception_handler(kind, answer_error)
    for outage in (PoolTimeoutError, ConnectionError, RPCError):
        app.add_exception_handler(outage, answer_error)
