"""What the documentation says about webhook endpoints and deliveries. A test compares it with what is answered."""

from typing import Literal

from api.schemas import Shown


class WebhookEndpoint(Shown):
    """Where a merchant wants to hear of events. `secret` is shown once: when it is made or rotated."""

    id: str
    object: Literal["webhook_endpoint"]
    status: Literal["enabled", "disabled", "deleted"]
    url: str
    description: str | None
    event_types: list[str]
    ordering: Literal["strict", "parallel"]
    in_flight_max: int
    signatures: list[Literal["v1", "v1a"]]
    public_key: str | None
    disabled_reason: str | None
    metadata: dict[str, str]
    livemode: bool
    created_at: str


class WebhookAttempt(Shown):
    """One request: what was answered, or what went wrong without an answer."""

    number: int
    attempted_at: str
    duration_ms: int
    response_status: int | None
    error: str | None
    response: str | None


class WebhookDelivery(Shown):
    """One event to one endpoint. `attempts` counts requests; `dead` is the dead-letter list."""

    object: Literal["webhook_delivery"]
    endpoint: str
    event: str
    event_type: str
    sequence: int
    status: Literal["pending", "succeeded", "dead"]
    attempts: int
    first_attempt_at: str
    last_attempt_at: str
    next_attempt_at: str | None
    last_attempt: WebhookAttempt


class WebhookDeliveryDetails(WebhookDelivery):
    """A delivery with every request that was made."""

    attempts_made: list[WebhookAttempt]


class WebhookRetry(Shown):
    """A delivery that is sent again now."""

    object: Literal["webhook_retry"]
    endpoint: str
    event: str


class WebhookRecovery(Shown):
    """How many failed deliveries are sent again now."""

    object: Literal["webhook_recovery"]
    endpoint: str
    count: int


class EventReplay(Shown):
    """A window of events that is sent again to these endpoints; both ends are included."""

    id: str
    object: Literal["event_replay"]
    endpoints: list[str]
    from_sequence: int
    to_sequence: int
    count: int
