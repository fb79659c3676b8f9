"""`kill -9` while old events are moved into files: nothing is lost, nothing is there twice, the next run goes on."""

import os
import resource
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from deployments.models import Deployment
from mdm import whole_files
from mdm.watch import archive, cutting, rounds
from mdm.watch.models import Alert, AuditCut
from tests.concurrency.processes import Child, Gate, dies_after, patch
from tests.watch.old_log import events, old, seal

pytestmark = pytest.mark.django_db(transaction=True)

POINTS: dict[str, Callable[[], None]] = {
    "before the file": partial(dies_after, cutting, "_next"),
    "in the file": partial(dies_after, archive, "_lines"),
    "before its name": partial(dies_after, os, "fsync"),
    "with its name, before it is on the disk": partial(dies_after, whole_files, "put_in_place"),
    "before the anchor": partial(dies_after, archive, "write"),
    "in the anchor's transaction": partial(dies_after, cutting.audit, "record"),
    "with the anchor": partial(dies_after, cutting, "_anchor"),
    "before the first cut": partial(dies_after, archive, "fault"),
    "in the cut": partial(dies_after, cutting, "_row", 12),
    "with the first file cut": partial(dies_after, cutting, "_finish"),
    "before the second anchor": partial(dies_after, cutting, "_anchored", 2),
}


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR, settings.AUDIT_ARCHIVE_DIR = tmp_path, tmp_path / "archive"
    settings.KEEP_EVENTS_DAYS = 90
    return tmp_path / "archive"


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """To be cut in two files, each in several batches."""
    monkeypatch.setattr(cutting, "BATCH", 2)
    deployment = old(4)
    seal(batch=3)
    monkeypatch.setattr(cutting, "PORTION", events(deployment) // 2)
    return deployment


def verify() -> str:
    out = StringIO()
    call_command("verify_audit", "--all", stdout=out, stderr=out)
    return out.getvalue()


def held(first: Deployment) -> int:
    """Events in the log, and of those that are gone in the files."""
    return events(first) + sum(cut.rows for cut in AuditCut.objects.all()) - _twice(first)


def _twice(first: Deployment) -> int:
    cuts = AuditCut.objects.filter(deployment=first)
    return sum(first.events.filter(id__gt=cut.after_id, id__lte=cut.last_id).count() for cut in cuts)


@pytest.mark.parametrize("point", POINTS)
def test_killed(point: str, first: Deployment, own_folder: Path) -> None:
    rows = events(first)

    def live(_: Gate) -> object:
        POINTS[point]()
        return cutting.run(60)

    with Child(live) as child:
        child.died()
    assert held(first) == rows, "nothing is lost"
    assert "Log and tables agree (1 deployments)." in verify()

    assert cutting.run(60).troubles == []
    assert events(first) == 0
    assert sum(cut.rows for cut in AuditCut.objects.all()) == rows
    assert f"Rebuilt from the archive: 1 deployments ({rows} events)." in verify()
    assert list(own_folder.glob(".*")) == []
    assert {file.name for file in own_folder.iterdir()} == set(
        AuditCut.objects.values_list("file", flat=True)
    )


def test_on_a_full_disk_nothing_is_cut_and_nothing_left_behind(first: Deployment, own_folder: Path) -> None:
    def writes_no_more(_: Gate) -> list[str]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # bytes
        return [trouble.subject for trouble in cutting.run(60).troubles]

    rows = events(first)
    with Child(writes_no_more) as child:
        assert child.result() == ["archive"]
    assert (events(first), AuditCut.objects.count(), list(own_folder.iterdir())) == (rows, 0, [])
    rounds.watch()
    alert = Alert.objects.get()
    assert (alert.kind, alert.state, "File too large" in alert.message) == ("archive_stuck", "open", True)
    assert cutting.run(60).rows == rows
    rounds.watch()
    assert Alert.objects.get().state == "resolved"


def test_of_two_that_cut_at_once_one_does(first: Deployment) -> None:
    def waits_in_the_middle(gate: Gate) -> object:
        finish = cutting._finish

        def and_waits(*given: Any) -> None:
            gate()
            finish(*given)

        patch(cutting, "_finish", and_waits)
        return cutting.run(60).rows

    rows = events(first)
    with Child(waits_in_the_middle) as one:
        one.comes()
        with Child(lambda _: cutting.run(60).rows) as other:
            assert other.result() == 0
        one.opens()
        one.comes()
        one.opens()
        assert one.result() == rows
    assert f"({rows} events)" in verify()


def test_who_verifies_waits_for_a_cut_and_no_cut_begins_meanwhile(first: Deployment) -> None:
    def verifies(gate: Gate) -> str:
        with cutting.held_off():
            gate()
            return verify()

    with Child(verifies) as child:
        child.comes()
        assert cutting.run(60).rows == 0
        child.opens()
        assert "Log and tables agree (1 deployments)." in child.result()
    assert cutting.run(60).rows > 0
