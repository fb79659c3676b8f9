"""How long installs of a package have taken lately, from the ledger of sends."""

from typing import Final

from django.db import connection

# A subquery: seconds from the send to the success, the median of the last 500; NULL = none measured.
MEDIAN_SEC: Final = """SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM took)) FROM (
    SELECT a.finished_at - a.sent_at AS took FROM deployment_attempt a
    JOIN apk_version v ON v.id = a.apk_version_id
    WHERE v.apk_id = %(apk_id)s AND a.outcome = 'succeeded' AND a.finished_at IS NOT NULL
    ORDER BY a.id DESC LIMIT 500) lately"""


def median_sec(apk_id: int) -> float | None:
    """None = none measured."""
    with connection.cursor() as cursor:
        cursor.execute(MEDIAN_SEC, {"apk_id": apk_id})
        (median,) = cursor.fetchone()
    return None if median is None else float(median)
