"""Who is told of alerts, and the telling: one HTTP request an alert and receiver, never followed elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from operations.alert_formats import FIRING_AGAIN, Alert, to_alertmanager, to_pagerduty, to_webhook

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
SECONDS_MAX = 10.0


class AlertNotDeliveredError(Exception):
    """A receiver could not be reached or didn't take a message. Retryable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertReceivers:
    """The receivers configured. Any of them may be absent; none at all is allowed (metrics and logs remain).

    `webhook_url` gets Alertmanager's webhook message, `alertmanager_url` is an Alertmanager's base URL,
    `pagerduty_routing_key` an integration's key. `instance` names the installation in every message.
    """

    instance: str
    webhook_url: str | None = None
    alertmanager_url: str | None = None
    pagerduty_url: str = PAGERDUTY_URL
    pagerduty_routing_key: str | None = None

    def names(self) -> tuple[str, ...]:
        """Return the names under which it is noted who was told what."""
        present = {
            "webhook": self.webhook_url,
            "alertmanager": self.alertmanager_url,
            "pagerduty": self.pagerduty_routing_key,
        }
        return tuple(name for name, configured in present.items() if configured)

    def state(self, name: str, alert: Alert, now: datetime) -> str:
        """Return what a receiver has to be told: it is told once of each state.

        Alertmanager's changes every minute while an alert fires, so that it is told again.
        """
        text = f"{'firing' if alert.firing else 'resolved'} since {alert.since.isoformat()}"
        if name == "alertmanager" and alert.firing:
            return f"{text} {int(now.timestamp() // FIRING_AGAIN.total_seconds())}"
        return text

    async def tell(self, http: httpx.AsyncClient, name: str, alert: Alert) -> None:
        """Send one message. A receiver may see it more than once; each format has its own key against that.

        Raises:
            AlertNotDeliveredError: it was not taken. Retryable.
        """
        url, body = self._message(name, alert)
        try:
            answer = await http.post(url, json=body, timeout=SECONDS_MAX, follow_redirects=False)
        except httpx.HTTPError as error:
            raise AlertNotDeliveredError(f"{name}: {type(error).__name__}") from error
        if not answer.is_success:
            raise AlertNotDeliveredError(f"{name} answered {answer.status_code}")

    def _message(self, name: str, alert: Alert) -> tuple[str, Mapping[str, Any] | list[dict[str, Any]]]:
        if name == "webhook":
            assert self.webhook_url
            return self.webhook_url, to_webhook(alert)
        if name == "alertmanager":
            assert self.alertmanager_url
            return f"{self.alertmanager_url.rstrip('/')}/api/v2/alerts", to_alertmanager(alert, datetime.now(UTC))
        assert self.pagerduty_routing_key
        return self.pagerduty_url, to_pagerduty(alert, self.pagerduty_routing_key)
