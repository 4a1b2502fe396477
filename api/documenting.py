"""How routes say what they answer, and how the OpenAPI document is completed from what they are.

A route declares what it does when all goes well (`responses=schemas.operation(Charge)`) and its body
(`openapi_extra=schemas.body(CreateCharge)`). The refusals every route of its shape can meet (no key, no
such object, a wrong field, an outage) are added here, so nobody lists them. Only the document is made from
this; answers are rendered straight from the books, and tests compare the two.
"""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

Responses = dict[int | str, dict[str, Any]]
Document = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
JSON_TYPE, PROBLEM_TYPE = "application/json", "application/problem+json"
KEY_PATTERN = r"^[ -~]{1,255}$"
HEADER_KEY_PATTERN = r"^[!-~]([ -~]{0,253}[!-~])?$"
"""A key as a header: HTTP takes blanks off either end."""


REFUSALS = {
    400: "The request is malformed or lacks its idempotency key.",
    401: "The API key is missing or wrong.",
    402: "Declined; the object is a member.",
    403: "This kind of key may not do this.",
    404: "No such object for this merchant and mode.",
    409: "The state of an object or a running request forbids it.",
    413: "The body is too large.",
    415: "The body is of a type not taken here.",
    422: "A field is wrong, or the ledger refused.",
    500: "Something went wrong on our side.",
    503: "Not attempted; retry with the same key.",
}
"""What each status of a refusal means, whichever route gives it."""


class Shown(BaseModel):
    """Fields may be added to any object; clients ignore what they don't know."""

    model_config = ConfigDict(extra="allow")


class Problem(Shown):
    """RFC 9457. Where an object exists, it is a member under its own name (`charge`, `refund`, …)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(examples=["amount_must_be_positive"])
    param: str | None = None
    request_id: str


BODIES: set[type[BaseModel]] = set()
"""Every request model a route declares."""
REFERENCED: set[type[BaseModel]] = {Problem}
"""Every object model that lists refer to."""


def problems(*statuses: int) -> Responses:
    """Return refusals that are particular to a route; the usual ones need no mention."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> Document:
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": REFUSALS[status], "content": content}


def operation(model: type[BaseModel]) -> Responses:
    """Return the answers of a POST that creates `model` and may move money."""
    return {
        201: {"model": model, "description": "Done, or waiting for the customer."},
        202: {"model": model, "description": "Unknown or still running; read it again later."},
        **problems(402, 409),
    }


def change(model: type[BaseModel]) -> Responses:
    """Return the answers of a POST that changes `model`."""
    return {
        200: {"model": model, "description": "Done."},
        202: {"model": model, "description": "Unknown or still running; read it again later."},
        **problems(402, 409),
    }


def creation(model: type[BaseModel]) -> Responses:
    """Return the answers of a POST that creates `model` and moves nothing."""
    return {201: {"model": model, "description": "Created."}, **problems(409)}


def writing(model: type[BaseModel]) -> Responses:
    """Return the answers of a PUT or DELETE, or of a POST that only computes."""
    return {200: {"model": model, "description": "Done."}}


def reading(model: type[BaseModel]) -> Responses:
    """Return the answers of a GET of one `model`."""
    return {200: {"model": model, "description": "As it stands."}}


def listing(model: type[BaseModel]) -> Responses:
    """Return the answers of a GET of a list of `model`."""
    REFERENCED.add(model)
    page = {
        "type": "object",
        "required": ["object", "data", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{model.__name__}"}},
            "has_more": {"type": "boolean"},
        },
    }
    return {200: {"description": "A page.", "content": {JSON_TYPE: {"schema": page}}}}


def streaming(media_type: str, description: str, *, status: int = 200) -> Responses:
    """Return the answer of a route that sends no JSON document: text, NDJSON, an archive."""
    return {status: {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}}


def body(model: type[BaseModel], media_type: str = JSON_TYPE) -> Document:
    """Return the part of a route's OpenAPI that describes its request body and idempotency key.

    For files use `multipart/form-data`; a field of bytes is `Annotated[str, Field(json_schema_extra={"format":
    "binary"})]` in the model.
    """
    BODIES.add(model)
    header = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "1-255 printable ASCII characters; or the body field `idempotency_key`. One is required.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": HEADER_KEY_PATTERN},
    }
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    required = any(field.is_required() for field in model.model_fields.values())
    described: Document = {"requestBody": {"required": required, "content": {media_type: {"schema": schema}}}}
    if "idempotency_key" in model.model_fields:
        described["parameters"] = [header]
    return described


def complete(document: Document) -> Document:
    """Return an OpenAPI document with the models routes refer to, every route's refusals, and links. In place."""
    models = sorted(BODIES | REFERENCED, key=lambda model: model.__name__)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)
    document["components"]["headers"] = {
        "Request-Id": {
            "description": "Quote it when you report something.",
            "required": True,
            "schema": {"type": "string"},
        }
    }
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                _complete_operation(path, methods[method])
    _link(document["paths"], schemas)
    return document


def _complete_operation(path: str, described: Document) -> None:
    answers = described["responses"]
    unsaid = answers.get("200", {}).get("description") == "Successful Response"
    if unsaid and any(status.startswith("2") and status != "200" for status in answers):
        del answers["200"]  # The framework adds it to routes that never answer it.
    if "HTTPValidationError" in str(answers.get("422", {})):
        del answers["422"]
    for answer in answers.values():
        content = answer.get("content", {})
        if len(content) > 1 and content.get(JSON_TYPE) == {"schema": {}}:
            del content[JSON_TYPE]  # Likewise, beside what the route said it sends.
    for status in _usual_refusals(path, described):
        answers.setdefault(str(status), _problem(status))
    for answer in answers.values():
        answer.setdefault("headers", {})["Request-Id"] = {"$ref": "#/components/headers/Request-Id"}
    described["responses"] = dict(sorted(answers.items()))


def _usual_refusals(path: str, described: Document) -> list[int]:
    """The refusals a route meets because of its shape, whatever it does."""
    usual = [500, 503]
    if described.get("security"):
        usual += [401, 403]
    if "{" in path:
        usual += [404]
    if described.get("parameters"):
        usual += [422]
    if "requestBody" in described:
        usual += [400, 404, 413, 415, 422]
    return usual


def _link(paths: Document, schemas: Document) -> None:
    """Link what makes an object to everything that takes the object's id in its path (OpenAPI links)."""
    for path, methods in paths.items():
        answers = methods.get("post", {}).get("responses", {})
        takers = {
            other: found.group(1)
            for other in paths
            if (found := re.fullmatch(re.escape(path) + r"/\{(\w+)\}(?:/\w+)?", other))
        }
        links = {
            paths[other][method]["operationId"]: {
                "operationId": paths[other][method]["operationId"],
                "parameters": {name: "$response.body#/id"},
            }
            for other, name in takers.items()
            for method in METHODS
            if method in paths[other]
        }
        for status in {"201", "202"} & answers.keys() if links else ():
            if _has_id(answers[status], schemas):
                answers[status]["links"] = links


def _has_id(answer: Document, schemas: Document) -> bool:
    """Tell whether an answer is one object with an id, and not, say, several."""
    reference = answer.get("content", {}).get(JSON_TYPE, {}).get("schema", {}).get("$ref", "")
    return "id" in schemas.get(reference.rsplit("/", 1)[-1], {}).get("properties", {})
