"""The `webhooks` part of the OpenAPI document, made from the catalogue of event types."""

from typing import Any

from pydantic import BaseModel

from api import schemas
from api.disputes import Dispute
from api.documenting import REFERENCED
from api.webhook_schemas import WebhookEndpoint
from domain.event_types import EVENT_TYPES, EventType

Document = dict[str, Any]

OBJECTS: dict[str, type[BaseModel]] = {
    "account": schemas.Account,
    "charge": schemas.Charge,
    "dispute": Dispute,
    "exception": schemas.ExceptionShown,
    "fx_quote": schemas.FxQuote,
    "payout": schemas.Payout,
    "refund": schemas.Refund,
    "transfer": schemas.Transfer,
    "webhook_endpoint": WebhookEndpoint,
}
"""The schema of `data.object` by kind; kinds that are not here are described in words only."""

_HEADERS = (
    ("webhook-id", "The event's id: the same on every attempt and replay."),
    ("webhook-timestamp", "When this attempt was signed, in seconds since 1970; refuse what is 300 s off."),
    ("webhook-signature", "`v1,<base64>` (HMAC-SHA256) or `v1a,<base64>` (Ed25519), several separated by spaces."),
)


def webhooks() -> Document:
    """Return one path item for each type of event."""
    REFERENCED.update(OBJECTS.values(), (schemas.Event,))
    return {one.name: {"post": _operation(one)} for one in EVENT_TYPES}


def _operation(one: EventType) -> Document:
    model = OBJECTS.get(one.object)
    subject: Document = {"$ref": f"#/components/schemas/{model.__name__}"} if model is not None else {"type": "object"}
    told = {
        "type": "object",
        "properties": {
            "type": {"const": one.name},
            "schema_version": {"const": one.schema_version},
            "data": {"type": "object", "required": ["object"], "properties": {"object": subject}},
        },
    }
    return {
        "operationId": f"webhook_{one.name.replace('.', '_')}",
        "summary": one.meaning,
        "tags": ["webhooks"],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": meaning, "schema": {"type": "string"}}
            for name, meaning in _HEADERS
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"allOf": [{"$ref": "#/components/schemas/Event"}, told]}},
            },
        },
        "responses": {
            "2XX": {"description": "Taken. Anything else, a redirect too, is sent again later."},
            "410": {"description": "Send no more: the endpoint is disabled."},
        },
    }
