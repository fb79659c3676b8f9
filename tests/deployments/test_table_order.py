"""The device table sorted by a column: the same order on the page, in the window and in the CSV."""

import csv
import io
from itertools import accumulate
from typing import Any

import pytest
from django.test import Client

from deployments.models import Deployment, DeploymentTask
from deployments.reading import task_list
from deployments.reading.task_list import SORTS, Filter
from deployments.rules.states import REASONS, TaskStatus
from devices.models import Device
from mdm.paging import Paging
from mdm.problems import Invalid
from tests.deployments import scene
from tests.deployments.pages import address, signed_in
from tests.deployments.test_pages_details import html, mixed

pytestmark = pytest.mark.django_db


def window(client: Client, deployment: Deployment, query: str = "") -> tuple[list[int], str]:
    """The ids in the order of the window, and its head."""
    told = client.get(address(deployment, f"order/?{query}")).json()
    steps = [int(step) for step in told["steps"].split(",")] if told["count"] else []
    ids = list(accumulate(steps))
    assert len(ids) == told["count"]
    return ids, told["head"]


def rows(deployment: Deployment) -> dict[int, dict[str, Any]]:
    return {row["id"]: row for row in task_list.page(deployment.pk, Paging(page_size=500))["items"]}


def key(row: dict[str, Any], column: str) -> Any:
    """What a person would sort by; None = nothing there."""
    device = Device.objects.get(pk=row["device_id"])
    words = REASONS[row["reason"]].text.casefold() if row["reason"] in REASONS else None
    return {
        "device": row["device_alias"],
        "model": device.model,
        "status": TaskStatus.values.index(row["status"]),
        "why": words,
        "tries": row["attempt"],
        "updated": row["updated_at"],
    }[column]


def shuffled() -> Deployment:
    """Devices whose alias, model and last change do not come in the order of their ids."""
    deployment = mixed()
    for number, device in enumerate(Device.objects.order_by("id")):
        alias, model = f"till-{number * 7 % 17:02d}", ("TC52", "EC30", "MC33")[number % 3]
        Device.objects.filter(pk=device.pk).update(alias=alias, model=model)
    Device.objects.filter(alias="till-03").update(alias="")  # shown and sorted by its serial
    return deployment


@pytest.mark.parametrize("column", SORTS)
def test_each_column_sorts_both_ways_and_equal_rows_keep_their_order(column: str) -> None:
    deployment, client = shuffled(), signed_in("viewer")
    known = rows(deployment)
    if column == "why":  # of failed tasks the words are the error's, another list
        known = {pk: row for pk, row in known.items() if row["status"] != "failed"}
    planned = [pk for pk in window(client, deployment)[0] if pk in known]
    for sort, backwards in ((column, False), (f"-{column}", True)):
        shown = [pk for pk in window(client, deployment, f"sort={sort}")[0] if pk in known]
        there = [pk for pk in planned if key(known[pk], column) is not None]
        missing = [pk for pk in planned if pk not in there]
        there.sort(key=lambda pk: key(known[pk], column), reverse=backwards)
        if backwards:  # reverse=True turns equal ones round as well
            values = [key(known[pk], column) for pk in there]
            there = [
                pk for value in dict.fromkeys(values) for pk in planned if key(known[pk], column) == value
            ]
        assert shown == there + missing
    assert planned == sorted(planned)


def test_page_window_and_csv_have_one_order_under_one_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_list, "CSV_CHUNK", 3)  # several chunks
    deployment, client = shuffled(), signed_in("viewer")
    wanted = "sort=-device&status=queued,succeeded,skipped"
    ids, _ = window(client, deployment, wanted)
    assert 3 < len(ids) < 17
    page = html(client, address(deployment, f"details/?{wanted}"))
    on_page = [pk for _, pk in sorted((page.index(f'id="nx-task-{pk}"'), pk) for pk in ids)]
    answer = client.get(address(deployment, f"export.csv?{wanted}"))
    exported = [int(row["id"]) for row in csv.DictReader(io.StringIO(answer.getvalue().decode()))]
    assert ids == on_page == exported
    assert answer.headers["X-Row-Count"] == str(len(ids))


def test_a_csv_that_is_sorted_by_what_changes_meanwhile_has_each_row_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_list, "CSV_CHUNK", 4)
    deployment = shuffled()
    found = task_list.csv_rows(deployment.pk, Filter(sort="updated"))
    begun = [next(found)]
    DeploymentTask.objects.filter(pk=begun[0][0]).update(updated_at="2099-01-01T00:00:00Z")
    ids = [row[0] for row in [*begun, *found]]
    assert len(ids) == len(set(ids)) == 17


def test_the_head_says_how_it_is_sorted_and_leads_on() -> None:
    deployment, client = shuffled(), signed_in("viewer")
    assert "aria-sort" not in window(client, deployment)[1]
    steps = {"": "sort=device", "device": "sort=-device", "-device": None}
    for sort, after in steps.items():
        _, head = window(client, deployment, f"sort={sort}&query=till")
        cell = head.partition('id="nx-column-device"')[2].partition("</th>")[0]
        assert ("aria-sort" in cell) == bool(sort)
        assert f"details/?query=till{f'&amp;{after}' if after else ''}#nx-devices" in cell
    assert 'aria-sort="descending"' in window(client, deployment, "sort=-device")[1]
    assert "sort=-updated" in window(client, deployment)[1], "the latest first"
    page = html(client, address(deployment, "details/?sort=-device"))
    assert 'aria-sort="descending"' in page
    assert 'name="sort" value="-device"' in page, "a filter keeps it"


@pytest.mark.parametrize("sort", ["nonsense", "-", "--device", "id; DROP TABLE device", "device%00"])
def test_what_cannot_be_sorted_by_is_refused_or_let_be(sort: str) -> None:
    deployment, client = mixed(), signed_in("viewer")
    assert len(window(client, deployment, f"sort={sort}")[0]) == 17
    assert client.get(address(deployment, f"details/?sort={sort}")).status_code == 200
    with pytest.raises(Invalid):
        Filter(sort="nonsense").order_sql()
    assert client.get(address(deployment, "export.csv?sort=nonsense")).status_code == 422


def test_a_reason_that_some_wait_for_and_others_ended_with_is_told_apart() -> None:
    scene.devices(3, beat={"battery": 12})
    deployment = scene.start(canary=1)
    ended = DeploymentTask.objects.filter(deployment=deployment).order_by("id")[:1].get()
    DeploymentTask.objects.filter(pk=ended.pk).update(
        status="skipped", reason="battery_low", next_run_at=None, finished_at=deployment.created_at
    )
    client = signed_in("viewer")
    page = html(client, address(deployment))
    counts = {"waiting": 2, "ended": 1}
    for part, count in counts.items():
        assert f"?reason={part}:battery_low#nx-devices" in page
        assert f'value="{part}:battery_low"' in page
        shown = window(client, deployment, f"reason={part}:battery_low")[0]
        assert len(shown) == count
        assert (ended.pk in shown) == (part == "ended")
        filtered = html(client, address(deployment, f"details/?reason={part}:battery_low"))
        assert f"{count} device{'s' if count > 1 else ''} under these filters" in filtered
        assert f'value="{part}:battery_low" selected' in filtered
        answer = client.get(address(deployment, f"export.csv?reason={part}:battery_low"))
        assert answer.headers["X-Row-Count"] == str(count)
    assert len(window(client, deployment, "reason=battery_low")[0]) == 3
    both = html(client, address(deployment, "details/?reason=battery_low"))
    assert 'value="battery_low" selected>Battery too low' in both
