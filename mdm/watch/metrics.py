"""What Prometheus reads: every number from rows, so that it is the same whichever process answers."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from django.db import connection
from django.db.models import Count
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from deployments.models import Deployment
from mdm import counters, worker_beat
from mdm.watch import alerts, outcomes, reading, sealing
from mdm.watch.models import AuditSeal
from mdm.watch.seal_text import STREAMS

SPAN: Final = timedelta(minutes=5)

_UNSEALED: Final = """SELECT EXTRACT(EPOCH FROM clock_timestamp() - created_at)::float FROM {table}
    WHERE id > %s ORDER BY id LIMIT 1"""


class Fleet(Collector):
    """All families; about twenty small statements, each over a handful of rows or along an index."""

    def collect(self) -> Iterator[Metric]:
        for family in _FAMILIES:
            yield from family()


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _labelled(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    words: str,
    labels: Sequence[str],
    values: Sequence[tuple[Sequence[str], float]],
) -> Metric:
    family = kind(name, words, labels=labels)
    for given, value in values:
        family.add_metric(given, value)
    return family


def _counted(name: str, words: str, of: str, labels: Sequence[str]) -> Metric:
    values = [([found[label] for label in labels], total) for found, total in counters.totals(of)]
    return _labelled(CounterMetricFamily, name, words, labels, values)


def _queue() -> Iterator[Metric]:
    found = reading.latest()
    depth = [([status], float(count)) for status, count in found.depth.items()]
    words = "Tasks of deployments that are not over, by status."
    yield _labelled(GaugeMetricFamily, "nexmdm_tasks", words, ["status"], depth)
    late = found.late_sec(timezone.now())
    yield _gauge("nexmdm_oldest_due_task_seconds", "How late the oldest task is that is due; 0 = none.", late)
    rows = Deployment.objects.values_list("status").annotate(count=Count("id")).order_by("status")
    counts = [([status], float(count)) for status, count in rows]
    yield _labelled(GaugeMetricFamily, "nexmdm_deployments", "Deployments by status.", ["status"], counts)


def _counters() -> Iterator[Metric]:
    yield _counted("nexmdm_task_moves", "State changes of tasks, by where to.", outcomes.MOVES, ["to"])
    yield _counted("nexmdm_failures", "Failed attempts, by error code.", outcomes.FAILURES, ["code"])
    words = "Requests of agents, by route and HTTP status; the route `status` is the reports."
    yield _counted("nexmdm_agent_requests", words, counters.AGENT_REQUESTS, ["route", "status"])
    yield _counted("nexmdm_pushes", "Pushes, by what became of them.", counters.PUSHES, ["outcome"])
    took = {labels["what"]: total for labels, total in counters.totals(outcomes.INSTALLS)}
    yield SummaryMetricFamily(
        "nexmdm_install_seconds",
        "From a device's first word to its success.",
        count_value=took.get("count", 0),
        sum_value=took.get("milliseconds", 0) / 1000,
    )


def _lately() -> Iterator[Metric]:
    """For people without a Prometheus; it can say the same of any span from the counters."""
    moves = {labels["to"]: count for labels, count in counters.recent(outcomes.MOVES, SPAN)}
    took = {labels["what"]: count for labels, count in counters.recent(outcomes.INSTALLS, SPAN)}
    good, bad = moves.get("succeeded", 0), moves.get("failed", 0)
    ended = good + bad + moves.get("ended", 0)
    seconds = SPAN.total_seconds()
    yield _gauge("nexmdm_tasks_per_second", "Tasks that ended per second, last 5 min.", ended / seconds)
    yield _gauge("nexmdm_installs_per_minute", "Successes per minute, last 5 min.", good * 60 / seconds)
    words = "Successes among successes and failures for good, last 5 min; NaN = none."
    yield _gauge("nexmdm_success_ratio", words, good / (good + bad) if good + bad else float("nan"))
    count = took.get("count", 0)
    mean = took.get("milliseconds", 0) / 1000 / count if count else float("nan")
    yield _gauge("nexmdm_install_mean_seconds", "Mean install time, last 5 min; NaN = none.", mean)


def _health() -> Iterator[Metric]:
    beats = [
        ([part, name], age) for part in ("worker", "ticker") for name, age in worker_beat.ages(part).items()
    ]
    words = "Since the last proof of work of each worker and ticker."
    yield _labelled(GaugeMetricFamily, "nexmdm_worker_beat_age_seconds", words, ["part", "name"], beats)
    counts = alerts.unresolved().order_by().values_list("kind", "state").annotate(count=Count("id"))
    standing = [([kind, state], float(count)) for kind, state, count in counts]
    words = "Alerts that are not resolved, by kind and state."
    yield _labelled(GaugeMetricFamily, "nexmdm_alerts", words, ["kind", "state"], standing)


def _audit() -> Iterator[Metric]:
    newest = AuditSeal.objects.order_by("-number").values_list("number", flat=True).first() or 0
    yield CounterMetricFamily("nexmdm_audit_seals", "Seals over the audit log.", value=newest)
    ages = []
    for stream in STREAMS:
        with connection.cursor() as cursor:
            cursor.execute(_UNSEALED.format(table=stream.table), [sealing.sealed_to(stream)])
            ages += [row[0] for row in cursor.fetchall()]
    words = "Age of the oldest event that is not sealed; 0 = all are."
    yield _gauge("nexmdm_audit_unsealed_seconds", words, max(ages, default=0.0))


_FAMILIES: Final[tuple[Callable[[], Iterator[Metric]], ...]] = (_queue, _counters, _lately, _health, _audit)
