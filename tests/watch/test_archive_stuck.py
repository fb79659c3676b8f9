"""What keeps old events from being moved into files is told, once for each thing, until a run got past it."""

from collections.abc import Callable
from datetime import timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from deployments.models import Deployment
from mdm.watch import alerts, archive, cutting, rounds
from mdm.watch.models import Alert, AlertDelivery, AuditCut, AuditSeal, LastCut
from tests.deployments.pages import signed_in
from tests.factories import actor
from tests.watch.old_log import events, old, run, seal

pytestmark = pytest.mark.django_db

Deed = Callable[[], object]


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR, settings.AUDIT_ARCHIVE_DIR = tmp_path, tmp_path / "archive"
    settings.KEEP_EVENTS_DAYS = 90
    return tmp_path / "archive"


def told() -> dict[str, str]:
    """What is open or acknowledged after a round of the watch: subject -> message."""
    rounds.watch()
    found = alerts.unresolved().filter(kind="archive_stuck")
    return dict(found.values_list("subject", "message"))


def behind_the_product(sql: str, *params: Any) -> None:
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        run(sql, *params)
        run("SET LOCAL session_replication_role = origin")


class Undone(Exception):
    """Ends what is only begun."""


def cut_one_portion(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many events went in a run whose time is up as soon as one portion is gone."""
    with monkeypatch.context() as patch:
        patch.setattr(cutting.time, "monotonic", chain([0, 0, 0], repeat(1)).__next__)
        return cutting.run(1).rows


def interrupted_run() -> None:
    """Ends as soon as the first file has its anchor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "_finish", lambda *_: (_ for _ in ()).throw(Undone))
        with pytest.raises(Undone):
            cutting.run(60)


# --- what is in the way, and how it is got out of it: (subject, words, deed), each with its deployment ---------------


def no_folder(settings: Any, deployment: Deployment) -> tuple[str, str, Deed]:
    good = settings.AUDIT_ARCHIVE_DIR
    (settings.DATA_DIR / "file").touch()
    settings.AUDIT_ARCHIVE_DIR = settings.DATA_DIR / "file" / "folder"
    return "archive", "The archive cannot be written", lambda: setattr(settings, "AUDIT_ARCHIVE_DIR", good)


def no_key(settings: Any, deployment: Deployment) -> tuple[str, str, Deed]:
    (key_id,) = set(AuditSeal.objects.values_list("key_id", flat=True))
    settings.AUDIT_KEY = ["new"]

    def brought_back() -> None:
        settings.AUDIT_KEY = ["new", settings.SECRET_KEY]

    return f"key {key_id}", f"was made with another key ({key_id}); name it in AUDIT_KEY", brought_back


def forged_seal(settings: Any, deployment: Deployment) -> tuple[str, str, Deed]:
    of_it = AuditSeal.objects.filter(stream="deployment_event", digests__has_key=str(deployment.pk))
    number, mac = of_it.values_list("number", "mac").earliest("number")
    change = "UPDATE audit_seal SET mac = %s WHERE number = %s"
    behind_the_product(change, "0" * 64, number)
    words = f"stay: seal {number} was changed, or the one before it"
    return f"deployment {deployment.pk}", words, lambda: behind_the_product(change, mac, number)


def changed_event(settings: Any, deployment: Deployment) -> tuple[str, str, Deed]:
    pk, message = deployment.events.values_list("pk", "message").earliest("pk")
    change = "UPDATE deployment_event SET message = %s WHERE id = %s"
    behind_the_product(change, "forged", pk)
    return f"deployment {deployment.pk}", "are not what seal", lambda: behind_the_product(change, message, pk)


def lost_file(settings: Any, deployment: Deployment) -> tuple[str, str, Deed]:
    interrupted_run()
    file = archive.folder() / AuditCut.objects.get().file
    content = file.read_bytes()
    file.unlink()
    return f"deployment {deployment.pk}", "stay until it is back", lambda: file.write_bytes(content)


OBSTACLES = [no_folder, no_key, forged_seal, changed_event, lost_file]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_is_in_the_way_is_told_once_and_resolved_when_a_cut_went_through(
    obstacle: Callable[..., tuple[str, str, Deed]], settings: Any
) -> None:
    first = old()
    seal()
    kept = events(first)
    assert told() == {}
    subject, words, heal = obstacle(settings, first)
    assert told() == {}, "nobody has tried yet"
    for _ in range(3):
        assert cutting.run(60).rows == 0
        assert [*told()] == [subject]
    assert words in told()[subject]
    alert = Alert.objects.get()
    assert alert.state == "open"
    assert alert.deployment_id == (first.pk if subject.startswith("deployment") else None)
    assert events(first) == kept

    heal()
    assert [*told()] == [subject], "it stands until a run got past it"
    assert cutting.run(60).rows == kept
    assert told() == {}
    alert.refresh_from_db()
    assert alert.state == "resolved"
    assert events(first) == 0


def test_where_nothing_is_in_the_way_or_nothing_is_due_nothing_is_told(settings: Any) -> None:
    """The negative control: an archive that cannot be written is no matter while nothing is to be written."""
    first, young = old(), old(by=timedelta(days=1))
    seal()
    assert cutting.run(60).rows > 0
    assert told() == {}
    no_folder(settings, first)
    assert cutting.run(60).rows == 0
    assert (told(), events(young) > 0) == ({}, True)


def test_it_is_shown_acknowledged_and_sent_as_every_other_alert(settings: Any) -> None:
    settings.ALERT_EMAILS = ["ops@example.com"]
    first = old()
    seal()
    _, words, heal = no_folder(settings, first)
    cutting.run(60)
    told()
    shown = signed_in("viewer").get("/admin/").content.decode()
    assert f"Old events are not archived.</strong> {words}" in shown
    alerts.acknowledge(actor("operator"), Alert.objects.get().pk)
    cutting.run(60)
    assert [*told()] == ["archive"]
    assert Alert.objects.get().state == "acknowledged"
    heal()
    cutting.run(60)
    assert told() == {}
    assert [*AlertDelivery.objects.order_by("id").values_list("event", flat=True)] == ["opened", "resolved"]


def test_a_missing_key_is_one_alert_for_all_that_was_sealed_with_it(settings: Any) -> None:
    first, second = old(), old()
    seal()
    subject, _, _ = no_key(settings, first)
    third = old()
    seal()
    assert cutting.run(60).rows > 0
    assert [*told()] == [subject]
    assert (events(first) > 0, events(second) > 0, events(third)) == (True, True, 0)


def test_two_things_that_are_in_the_way_are_two_alerts(settings: Any) -> None:
    first = old()
    seal()
    second = old()
    seal()
    one, _, heal = changed_event(settings, first)
    other, _, _ = forged_seal(settings, second)
    cutting.run(60)
    assert {*told()} == {one, other}
    heal()
    assert cutting.run(60).rows > 0
    assert [*told()] == [other]


def test_a_run_whose_time_is_up_believes_what_it_did_not_come_to(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = old(), old()
    seal()
    stands, _, _ = changed_event(settings, second)
    one, _, heal = changed_event(settings, first)
    cutting.run(60)
    assert {*told()} == {one, stands}
    heal()
    assert cut_one_portion(monkeypatch) > 0
    assert [*told()] == [stands], "and what it got past is over"


@pytest.mark.parametrize("obstacle", [no_folder, no_key])
def test_what_one_portion_got_past_is_over_though_there_is_more_to_do(
    obstacle: Callable[..., tuple[str, str, Deed]], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = old(), old()
    seal()
    subject, _, heal = obstacle(settings, first)
    cutting.run(60)
    assert [*told()] == [subject]
    heal()
    assert cut_one_portion(monkeypatch) > 0
    assert (told(), cutting.count() > 0) == ({}, True)


def test_who_wants_no_archive_any_more_has_no_trouble_with_it(settings: Any) -> None:
    no_folder(settings, old())
    seal()
    cutting.run(60)
    assert [*told()] == ["archive"]
    settings.KEEP_EVENTS_DAYS = 0
    cutting.run(60)
    assert told() == {}


def test_runs_that_come_to_no_end_are_told_from_the_fourth_on() -> None:
    first = old()
    seal()
    for _ in range(3):
        interrupted_run()
        assert told() == {}
    interrupted_run()
    assert [*told()] == ["run"]
    assert LastCut.objects.get().begun_at > timezone.now() - timedelta(minutes=1)
    assert cutting.run(60).rows > 0
    assert (told(), events(first)) == ({}, 0)
