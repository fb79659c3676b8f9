"""While reports stream in: what stands on one page agrees with itself, and page, API and CSV with the rows."""

import csv
import io
import re
import threading
from typing import Any

import pytest
from django.test import Client

from deployments.models import Deployment, DeploymentTask
from deployments.rules.states import IN_FLIGHT, PEOPLE_GROUPS
from devices.models import Device
from tests.deployments import scene
from tests.deployments.crowd import alone
from tests.deployments.pages import address, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

FLEET = 15


def told_by_page(client: Client, deployment: Deployment) -> dict[str, int]:
    """Group or reason -> count, `total` out of the heading, `table` out of the table's own count."""
    page = client.get(address(deployment)).content.decode()
    groups = re.findall(r'status=([a-z_,]+)#nx-devices" class="nx-count">([\d,]+)<', page)
    reasons = re.findall(r'reason=(?:waiting|ended):([a-z_]+)#nx-devices">[^<]*</a>\s*<span>([\d,]+)<', page)
    bar = dict(re.findall(r"([\d,]+) (succeeded|in progress|queued|failed|skipped)", _label(page)))
    found = {name: int(count) for name, count in groups}
    assert {count for count in found.values() if count} == {int(count) for count in bar}
    return {
        **found,
        "reasons": sum(int(count) for _, count in reasons),
        "total": int(re.search(r"Progress of (\d+) devices", page)[1]),  # type: ignore[index]
        "table": int(re.search(r'id="nx-counted">(\d+) devices', page)[1]),  # type: ignore[index]
    }


def _label(page: str) -> str:
    found = re.search(r'<svg class="nx-bar" role="img" aria-label="([^"]*)"', page)
    assert found
    return found[1]


def rows_of_csv(client: Client, deployment: Deployment) -> list[dict[str, str]]:
    answer = client.get(address(deployment, "export.csv"))
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def streaming(deployment: Deployment, fleet: list[Device]) -> threading.Thread:
    """Every device tells its whole story, one in five a failure."""

    def talk() -> None:
        for number, device in enumerate(fleet):
            if number % 5:
                scene.install(deployment, device)
            else:
                scene.beat(device)
                scene.report(deployment, device, "failed", error_code="apk_invalid")

    return threading.Thread(target=alone, args=(talk,))


def succeeded(deployment: Deployment) -> int:
    return DeploymentTask.objects.filter(deployment=deployment, status="succeeded").count()


def check_one_look(client: Client, deployment: Deployment) -> int:
    """The page, then the API, then the CSV, each bounded by what the rows said before and after."""
    page = told_by_page(client, deployment)
    groups = {",".join(of): page[",".join(of)] for of in PEOPLE_GROUPS.values()}
    assert sum(groups.values()) == page["total"] == page["table"] == FLEET
    assert page["reasons"] == FLEET - groups["succeeded"] - groups[",".join(IN_FLIGHT)]
    told = client.get(f"/v1/deployments/{deployment.pk}").json()
    assert sum(count for name, count in told["counts"].items() if name != "total") == FLEET
    assert sum(row["count"] for row in told["reasons"]) == FLEET - sum(
        told["counts"][status] for status in ("succeeded", *IN_FLIGHT)
    )
    least = succeeded(deployment)
    assert groups["succeeded"] <= told["counts"]["succeeded"] <= least
    rows = rows_of_csv(client, deployment)
    assert len(rows) == len({row["device_id"] for row in rows}) == FLEET
    assert least <= sum(row["status"] == "succeeded" for row in rows) <= succeeded(deployment)
    return groups["succeeded"]


def test_all_numbers_agree_while_reports_stream_in_and_are_equal_at_the_end() -> None:
    fleet = scene.devices(FLEET)
    deployment = scene.start(fleet, failure_pct=100, retry={"max": 0, "backoff_sec": 1})
    client = signed_in("operator")
    stream = streaming(deployment, fleet)
    stream.start()
    looks = [check_one_look(client, deployment)]
    while stream.is_alive():
        looks.append(check_one_look(client, deployment))
    stream.join()
    assert looks == sorted(looks)

    counts: dict[str, Any] = scene.counts(deployment)
    assert counts == {"succeeded": 12, "failed": 3, "total": FLEET}
    page = told_by_page(client, deployment)
    rows = rows_of_csv(client, deployment)
    assert (page["succeeded"], page["failed"], page["reasons"]) == (12, 3, 3)
    assert [sum(row["status"] == status for row in rows) for status in ("succeeded", "failed")] == [12, 3]
