"""Every route says what it takes and what it answers: its body, each status, and the schema of each answer."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.app import ROUTES, describe
from api.authentication import require_merchant
from api.documenting import JSON_TYPE, METHODS, PROBLEM_TYPE
from api.errors import Problem
from vault.route import create_router

READERS = frozenset({"read_write", "read_body", "form"})
"""Functions and methods by which a route reads its body."""


def described() -> dict[str, Any]:
    """The OpenAPI document of all routes, the vault's too; nothing is served."""
    app = FastAPI(title="Ledgerline", version="0")
    for room in ROUTES:
        app.include_router(room.router)
    app.include_router(create_router(None, principal=require_merchant, problem=Problem))  # type: ignore[arg-type]
    return describe(app)


DOCUMENT = described()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation with its name, `POST /v1/charges`."""
    for path, methods in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in methods:
                yield f"{method.upper()} {path}", methods[method]


def own_routes() -> Iterator[tuple[Any, APIRoute]]:
    """Every documented route of the API's modules, with its module."""
    for room in ROUTES:
        for route in room.router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                yield room, route


def test_every_operation_shows_what_comes_of_it() -> None:
    """A success with a schema that says something, and refusals that are problems."""
    silent = []
    for name, operation in operations():
        successes = {status: answer for status, answer in operation["responses"].items() if status < "400"}
        if not successes or not all(_says_something(*each) for each in successes.items()):
            silent.append(name)
        for status, answer in operation["responses"].items():
            if status >= "400" and PROBLEM_TYPE not in answer.get("content", {}) and name != "GET /readyz":
                silent.append(f"{name} {status}")
    assert silent == [], "declare responses=schemas.reading(Model) and the like, see api/documenting.py"


def _says_something(status: str, answer: dict[str, Any]) -> bool:
    content = answer.get("content", {})
    return status in ("204", "303") or (bool(content) and all(media.get("schema") for media in content.values()))


def test_every_body_that_is_read_is_described() -> None:
    """A route that reads a body declares `openapi_extra=schemas.body(Model)`."""
    silent = []
    for _, route in own_routes():
        reads = {_called(node) for node in ast.walk(ast.parse(inspect.getsource(route.endpoint).strip()))}
        method = min(route.methods).lower()
        if reads & READERS and "requestBody" not in DOCUMENT["paths"][route.path][method]:
            silent.append(f"{method.upper()} {route.path}")
    assert silent == []


def _called(node: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        return node.func.id if isinstance(node.func, ast.Name) else node.func.attr
    return ""


def test_every_status_a_module_refuses_with_is_documented_by_its_routes() -> None:
    """`raise Problem(409, …)` in a module of routes, and no route of it that says 409, is a surprise for clients."""
    documented: dict[str, set[int]] = {}
    for room, route in own_routes():
        method = min(route.methods).lower()
        said = documented.setdefault(room.__file__, set())
        said |= {int(status) for status in DOCUMENT["paths"][route.path][method]["responses"]}
    surprises = {}
    hidden = {room.__file__ for room in ROUTES for route in room.router.routes if not route.include_in_schema}
    for file, said in documented.items():
        if file in hidden:
            continue  # What rails and browsers call is not told to clients, and refuses in its own way.
        raised = {
            node.args[0].value
            for node in ast.walk(ast.parse(Path(file).read_text()))
            if _called(node) == "Problem" and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant)
        }
        if raised - said:
            surprises[Path(file).name] = raised - said
    assert surprises == {}


def test_json_answers_name_their_model() -> None:
    """What clients are generated from: no JSON success is an anonymous object."""
    anonymous = [
        f"{name} {status}"
        for name, operation in operations()
        for status, answer in operation["responses"].items()
        if status < "400" and JSON_TYPE in answer.get("content", {})
        for schema in [answer["content"][JSON_TYPE]["schema"]]
        if "$ref" not in schema and "properties" not in schema
    ]
    assert anonymous == []
