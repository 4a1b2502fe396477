"""What schemathesis needs to know of this API that OpenAPI cannot say. Loaded by its command line.

A write names its idempotency key in the header or in the body, and the same in both; ids are of objects that
exist. Requests that are meant to be wrong are left as they were drawn.
"""

import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.core import NotSet

KEY = "Idempotency-Key"
TOKENS = ("tok_visa_4291", "tok_declined_hard", "tok_soft_then_approved", "tok_3ds", "tok_risk_block", "tok_disputed")
SHAPE = re.compile(r"(_must_be_\w+|_too_long|_too_short|unknown_field|malformed_json|body_must_be_object)$")
"""Codes of a 422 that says a field does not have the form the document describes."""
EVERY = 4
"""One in so many requests keeps the id it was drawn with, which mostly names nothing."""

_objects: dict[str, list[str]] = json.loads(Path(os.environ["LEDGERLINE_OPENAPI_OBJECTS"]).read_text())
_numbers = itertools.count(1)
_used: set[str] = set()


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Make a request that is meant to be right one that can succeed."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    number = next(_numbers)
    if "wait" in case.query:
        case.query["wait"] = 0  # Seconds the answer may take; there is nothing to wait for here.
    if not isinstance(case.body, NotSet):
        case.body = _whole(case.body)
    if number % EVERY:
        _name_what_exists(case, number)
    if any(parameter.name == KEY for parameter in case.operation.headers):
        _give_key(case, number)


def _whole(value: Any) -> Any:
    """To JSON Schema 1.0 is an integer; money is never written with a point here."""
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _give_key(case: Case, number: int) -> None:
    """One key, not used before, where the client chose to put it; a body's own is taken for both."""
    body = case.body if isinstance(case.body, dict) else {}
    offered = body.get("idempotency_key") or case.headers.get(KEY)
    key = offered if offered and offered not in _used and not offered.startswith("dispute:") else f"st_{number}"
    _used.add(key)
    if body.get("idempotency_key") is not None:
        body["idempotency_key"] = key
    case.headers[KEY] = key


def _name_what_exists(case: Case, number: int) -> None:
    for name in case.path_parameters:
        if known := _objects.get(name.removesuffix("_id")):
            case.path_parameters[name] = known[number % len(known)]
    body = case.body if isinstance(case.body, dict) else {}
    accounts, charges = _objects["account"], _objects["charge"]
    for field, value in body.items():
        if not isinstance(value, str):
            continue
        if value.startswith("acct_") and field != "id":
            shift = field == "destination"
            body[field] = accounts[(number + shift) % len(accounts)]
        elif value.startswith("ch_"):
            body[field] = charges[number % len(charges)]
        elif value.startswith("tok_"):
            body[field] = TOKENS[number % len(TOKENS)]
        elif field == "rail":
            body[field] = "auto"
        elif field == "currency":
            body[field] = "EUR"


@schemathesis.check
def documented_form_suffices(ctx: CheckContext, response: Response, case: Case) -> None:
    """A request of the documented form may be refused by a rule of business, never for its form."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE or response.status_code != 422:
        return
    code = response.json()["code"]
    assert not SHAPE.search(code), f"refused as {code}, but of the documented form"
