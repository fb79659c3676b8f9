"""What ops/ holds fits the product: rules that Prometheus takes and that fire, names that exist, a page per alert."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mdm import counters
from mdm.watch import alerts, outcomes
from mdm.watch.alerts import Cause
from mdm.watch.kinds import KINDS
from mdm.watch.metrics import Fleet
from mdm.watch.models import Alert

CHECKOUT = Path(__file__).resolve().parents[2]
OPS = CHECKOUT / "ops"
RULES = (OPS / "prometheus-rules.yml").read_text()
RECORDED = set(re.findall(r"record: (\S+)", RULES))


def _promtool(*arguments: str) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=OPS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert "SUCCESS" in _promtool("check", "rules", "prometheus-rules.yml")


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in _promtool("test", "rules", "prometheus-rules.test.yml")


def _exposed() -> set[str]:
    """Names of all samples of an installation in which everything has happened once."""
    counters.add(
        {
            counters.key(outcomes.MOVES, to="succeeded"): 1,
            counters.key(outcomes.FAILURES, code="internal"): 1,
            counters.key(outcomes.INSTALLS, what="count"): 1,
            counters.key(counters.AGENT_REQUESTS, route="status", status="200"): 1,
            counters.key(counters.PUSHES, outcome="delivered"): 1,
        }
    )
    from mdm import worker_beat
    from tests.deployments import scene

    scene.start(scene.devices(1))
    worker_beat.beat("worker")
    alerts.raise_once(Cause("serial_taken", "device 1", "Refused."))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fleet())
    text = generate_latest(registry).decode()
    return {s.name for family in text_string_to_metric_families(text) for s in family.samples}


@pytest.mark.django_db
@pytest.mark.parametrize("file", ["prometheus-rules.yml", "grafana-dashboard.json"])
def test_every_metric_that_is_asked_for_exists(file: str) -> None:
    text = (OPS / file).read_text()
    if file.endswith("json"):
        text = "\n".join(t["expr"] for panel in json.loads(text)["panels"] for t in panel["targets"])
    asked = set(re.findall(r"\bnexmdm_[a-z_]+\b", text))
    assert asked
    assert asked - _exposed() == set()
    assert set(re.findall(r"\bnexmdm:[a-z0-9_:]+", text)) <= RECORDED


@pytest.mark.django_db
def test_the_dashboard_leaves_no_metric_out() -> None:
    text = (OPS / "grafana-dashboard.json").read_text()
    own = {name for name in _exposed() if name.startswith("nexmdm_")}
    lately = {"nexmdm_tasks_per_second", "nexmdm_installs_per_minute", "nexmdm_success_ratio"}
    said_otherwise = lately | {"nexmdm_install_mean_seconds"}  # from the counters, over any span
    assert {name for name in own if name not in text} == {n for n in said_otherwise if n in own}


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    board = json.loads((OPS / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    lines = ["groups:", "- name: x", "  rules:"]
    lines += [f"  - {{record: 'x:{n}', expr: {json.dumps(query)}}}" for n, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text("\n".join(lines))
    assert f"{len(queries)} rules found" in _promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_every_kind_of_alert_has_a_rule() -> None:
    assert set(KINDS) <= set(re.findall(r"kind: (\w+)", RULES))


def test_every_kind_of_alert_has_a_page_in_the_runbook() -> None:
    runbook = (CHECKOUT / "docs" / "runbook.md").read_text()
    section = runbook.partition("## When an alert is raised")[2].partition("\n## ")[0]
    pages = set(re.findall(r"^### `(\w+)`", section, re.MULTILINE))
    assert set(KINDS) <= pages
    for page in re.split(r"^### ", section, flags=re.MULTILINE)[1:]:
        for part in ("**Means**", "**Look at**", "**Do**"):
            assert part in page, page[:40]


def test_the_sentence_of_a_kind_fits_its_column() -> None:
    assert max(map(len, KINDS)) <= (Alert._meta.get_field("kind").max_length or 0)
