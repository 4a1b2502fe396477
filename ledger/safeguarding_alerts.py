"""Alerts about breaks of safeguarding that have stood too long, among those of the invariant watch.

The watch's own loop tells people (`activities/watching.py`); here is only what there is to tell.
"""

from psycopg import AsyncConnection

from domain.safeguarding import ALERT_SCOPE

_REFRESH = f"""
    WITH old AS (
        SELECT '{ALERT_SCOPE}' || (b.document ->> 'currency') AS scope, count(*) AS breaks,
            min((b.document ->> 'opened_at')::timestamptz) + %(days)s * interval '1 day' AS since,
            jsonb_agg(jsonb_build_object('kind', b.document ->> 'kind',
                'account', coalesce('bank ' || (b.document ->> 'bank'), 'books'), 'entry', b.id,
                'detail', (b.document ->> 'difference') || ' since ' || (b.document ->> 'opened_at') || ', '
                    || (b.document ->> 'root_cause')) ORDER BY b.id) AS shown
        FROM safeguarding_breaks b
        WHERE b.status = 'open' AND b.mode = 'live'
            AND (b.document ->> 'opened_at')::timestamptz <= clock_timestamp() - %(days)s * interval '1 day'
        GROUP BY 1
    ), fired AS (
        INSERT INTO ledger_alerts AS a (scope, firing, since, violations, first_violations)
        SELECT scope, true, since, breaks, shown FROM old
        ON CONFLICT (scope) DO UPDATE SET firing = true, ended_at = NULL, violations = excluded.violations,
            first_violations = excluded.first_violations,
            since = CASE WHEN a.firing THEN a.since ELSE excluded.since END
        WHERE (a.firing, a.first_violations) IS DISTINCT FROM (true, excluded.first_violations)
    )
    UPDATE ledger_alerts a SET firing = false, ended_at = clock_timestamp(), violations = 0
    WHERE a.firing AND starts_with(a.scope, '{ALERT_SCOPE}') AND a.scope NOT IN (SELECT scope FROM old)
"""


async def refresh_break_alerts(connection: AsyncConnection, *, days: int) -> None:
    """Let an alert fire for each currency with a live break open for `days` or more, and end where there is none.

    Idempotent. Needs the worker's role. Test money raises no alert.
    """
    await connection.execute(_REFRESH.encode(), {"days": days})
