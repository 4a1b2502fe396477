"""Alerts about the books and old breaks in the formats of those who are told: Alertmanager's two, and PagerDuty's.

Pure. Source: the Alertmanager v2 API's `postableAlerts` (`POST /api/v2/alerts`); its webhook receiver's message,
version 4; the PagerDuty Events API v2 (`POST /v2/enqueue`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.safeguarding import ALERT_SCOPE
from domain.timestamps import rfc3339

ALERT_NAME = "LedgerInvariantViolated"
BREAK_ALERT_NAME = "SafeguardingBreakOld"
RECEIVER = "ledgerline"
NEVER = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of an alert that has not ended."""

FIRING_AGAIN = timedelta(minutes=1)
"""A firing alert is posted to Alertmanager so often: without news it takes an alert as resolved."""

FIRING_FOR = timedelta(minutes=5)
"""Until when Alertmanager takes a posted alert as firing: several misses are forgiven."""

SUMMARY_MOST = 1_024
"""PagerDuty's limit for a summary, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Violations in one scope (a currency, `ALL`, `GUARDS`), firing since an instant, or ended.

    In a scope `SAFEGUARDING:{currency}` they are breaks that stood too long.
    `first_violations`: kind, account, entry and detail of the first ones. `instance`: the installation's URL.
    """

    scope: str
    firing: bool
    since: datetime
    ended_at: datetime | None
    violations: int
    first_violations: tuple[Mapping[str, Any], ...]
    instance: str

    @property
    def about_breaks(self) -> bool:
        """Whether it is about safeguarding, not about the soundness of the books."""
        return self.scope.startswith(ALERT_SCOPE)

    @property
    def name(self) -> str:
        """What kind of alert it is."""
        return BREAK_ALERT_NAME if self.about_breaks else ALERT_NAME

    @property
    def dedup_key(self) -> str:
        """One for each scope: what is told under it is one incident until it is resolved."""
        return f"{self.name}/{self.instance}/{self.scope}"


def summary_of(alert: Alert) -> str:
    """Return one sentence with the first violation's kind, account and entry."""
    if alert.about_breaks:
        return _summary_of_breaks(alert)
    if not alert.firing:
        return f"The books are in order again in {alert.scope}, or a person has taken note."
    first = alert.first_violations[0] if alert.first_violations else {}
    where = f"{first.get('kind')} at account {first.get('account')}, entry {first.get('entry')}"
    stopped = "" if alert.scope == "GUARDS" else " Payouts in it are stopped until a person lifts the stop."
    return f"{alert.violations} ledger violations in {alert.scope}: {where}.{stopped}"


def _summary_of_breaks(alert: Alert) -> str:
    currency = alert.scope.removeprefix(ALERT_SCOPE)
    if not alert.firing:
        return f"No break of safeguarding in {currency} has stood too long any more."
    first = alert.first_violations[0] if alert.first_violations else {}
    return (
        f"{alert.violations} breaks of safeguarding in {currency} have stood too long: {first.get('kind')} of"
        f" {first.get('detail')} ({first.get('account')}, {first.get('entry')})."
    )


def to_alertmanager(alert: Alert, now: datetime) -> list[dict[str, Any]]:
    """Return the body of `POST /api/v2/alerts`."""
    ends = now + FIRING_FOR if alert.firing else alert.ended_at
    return [
        {
            "labels": _labels(alert),
            "annotations": _annotations(alert),
            "startsAt": rfc3339(alert.since),
            "endsAt": rfc3339(ends),
            "generatorURL": _report_url(alert),
        }
    ]


def to_webhook(alert: Alert) -> dict[str, Any]:
    """Return Alertmanager's webhook message, version 4, with one alert."""
    status = "firing" if alert.firing else "resolved"
    labels, annotations = _labels(alert), _annotations(alert)
    group = {"alertname": alert.name, "scope": alert.scope}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{alert.name}", scope="{alert.scope}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": RECEIVER,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": alert.instance,
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": rfc3339(alert.since),
                "endsAt": NEVER if alert.firing else rfc3339(alert.ended_at),
                "generatorURL": _report_url(alert),
                "fingerprint": hashlib.sha256(alert.dedup_key.encode()).hexdigest()[:16],
            }
        ],
    }


def to_pagerduty(alert: Alert, routing_key: str) -> dict[str, Any]:
    """Return an event of PagerDuty's Events API v2: a trigger, or the resolution of the same incident."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if alert.firing else "resolve",
        "dedup_key": hashlib.sha256(alert.dedup_key.encode()).hexdigest(),
    }
    if not alert.firing:
        return event
    return event | {
        "client": "Ledgerline",
        "client_url": _report_url(alert),
        "payload": {
            "summary": summary_of(alert)[:SUMMARY_MOST],
            "source": alert.instance,
            "severity": "critical",
            "timestamp": rfc3339(alert.since),
            "component": "ledger",
            "group": alert.scope,
            "class": alert.name,
            "custom_details": {
                "violations": alert.violations,
                "first_violations": [dict(one) for one in alert.first_violations],
            },
        },
    }


def _labels(alert: Alert) -> dict[str, str]:
    return {
        "alertname": alert.name,
        "severity": "critical",
        "service": RECEIVER,
        "instance": alert.instance,
        "scope": alert.scope,
    }


def _annotations(alert: Alert) -> dict[str, str]:
    lines = (f"{one['kind']} {one['account']} {one['entry']}: {one['detail']}" for one in alert.first_violations)
    return {"summary": summary_of(alert), "description": "\n".join(lines)}


def _report_url(alert: Alert) -> str:
    return f"{alert.instance}/v1/{'safeguarding/breaks' if alert.about_breaks else 'ledger/invariants'}"
