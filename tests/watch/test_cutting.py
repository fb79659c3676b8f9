"""Events of deployments that ended long ago lie in files, and the log can still account for every one of them."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import Error, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deployments.models import Deployment, DeploymentEvent, DeploymentTask
from deployments.operations import retrying
from mdm.environment import zero_or
from mdm.models import AuditEvent
from mdm.watch import archive, cutting, seal_head
from mdm.watch.models import AuditCut, AuditSeal
from mdm.watch.sealing_keys import all_keys
from tests.deployments import scene
from tests.deployments.pages import address, signed_in
from tests.watch import old_log
from tests.watch.old_log import events, old, run, seal

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR, settings.AUDIT_ARCHIVE_DIR = tmp_path, tmp_path / "archive"
    settings.KEEP_EVENTS_DAYS = 90
    return tmp_path / "archive"


def cut() -> int:
    done = cutting.run(60)
    assert done.troubles == []
    return done.rows


def verify(*arguments: str) -> str:
    """What it says; raises where log and tables do not agree."""
    out = StringIO()
    call_command("verify_audit", *(arguments or ["--all"]), stdout=out, stderr=out)
    return out.getvalue()


def refused(*arguments: str) -> str:
    """What it says where it does not agree."""
    out = StringIO()
    with pytest.raises(CommandError, match="not to be trusted"):
        call_command("verify_audit", *(arguments or ["--all"]), stdout=out, stderr=out)
    return out.getvalue()


class Undone(Exception):
    """Ends what is only begun."""


def forged(deed: Callable[[], Any], *arguments: str) -> str:
    """What is said after a deed of somebody with the rights of a superuser; undone afterwards."""
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        deed()
        run("SET LOCAL session_replication_role = origin")
        said = refused(*arguments)
        transaction.set_rollback(True)
    return said


def test_an_old_deployments_events_lie_in_a_file_and_the_log_still_agrees(own_folder: Path) -> None:
    first, live = old(), scene.start(scene.devices(1))
    words, page = "moved into the archive of the audit log", address(first)
    client = signed_in("viewer")
    assert words not in client.get(page).content.decode()
    second = old()
    seal()
    of = {deployment.pk: events(deployment) for deployment in (first, second)}
    stored = list(
        DeploymentEvent.objects.filter(deployment=first).order_by("id").values_list("id", "message")
    )
    assert cutting.count() == sum(of.values()) == cut()
    assert (events(first), events(second)) == (0, 0)
    assert events(live) > 0
    assert words in client.get(page).content.decode()
    assert {found.deployment_id: found.rows for found in AuditCut.objects.all()} == of

    said = verify()
    assert f"archived in {own_folder}: {sum(of.values()):,} events." in said
    assert f"Rebuilt from the archive: 2 deployments ({sum(of.values()):,} events)." in said
    assert "Log and tables agree (3 deployments).\nEvery seal holds (" in said
    assert "Not seen" not in said

    file = own_folder / AuditCut.objects.get(deployment=first).file
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    written = [(line["event"]["id"], line["event"]["message"]) for line in lines if "event" in line]
    assert written == stored
    assert "seal" in lines[-1], "each run of events is followed by the seal over it"
    numbers = [line["seal"]["number"] for line in lines if "seal" in line]
    assert len(numbers) > 1
    assert AuditSeal.objects.filter(number__in=numbers).count() == len(numbers)
    told = AuditEvent.objects.filter(action="audit.cut").order_by("id")
    assert [event.subject_id for event in told] == [str(first.pk), str(second.pk)]


def test_the_chain_goes_on_after_a_cut_and_is_cut_again() -> None:
    first = old()
    seal()
    rows = cut()
    late = scene.report(
        first, DeploymentTask.objects.filter(deployment=first).latest("id").device, "failed", attempt=1
    )
    assert late.http_status == 409, "a contrary report, which is kept in the log"
    seal()
    assert (events(first), cutting.count()) == (1, 0)
    assert "Log and tables agree (1 deployments)" in verify()
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        run("UPDATE deployment_event SET created_at = created_at - interval '1 year'")
        run("SET LOCAL session_replication_role = origin")
    assert "not what was sealed" in refused(), "the negative control: moved back behind its seal"
    done = cutting.run(60)
    assert (done.rows, events(first)) == (0, 1)
    assert "are not what seal" in done.troubles[0].message, (
        "what its seal does not cover is not laundered by a cut"
    )
    assert rows > 0


def test_a_later_event_goes_in_a_cut_of_its_own() -> None:
    first = old()
    seal()
    rows = cut()
    DeploymentEvent.objects.create(
        deployment=first, message="late", actor="system", created_at=timezone.now() - old_log.YEAR
    )
    seal()
    assert cut() == 1
    assert [found.rows for found in AuditCut.objects.order_by("number")] == [rows, 1]
    assert f"1 deployments ({rows + 1} events)" in verify()


def test_a_long_log_goes_in_several_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "PORTION", 4)
    monkeypatch.setattr(cutting, "BATCH", 3)
    first = old(12)
    seal()
    rows = events(first)
    assert cut() == rows
    assert AuditCut.objects.count() > 3
    assert f"1 deployments ({rows} events)" in verify()
    assert "Every seal holds" in verify(str(first.pk))


def test_in_the_middle_of_a_long_log_everything_agrees_and_the_next_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutting, "PORTION", 4)
    monkeypatch.setattr(cutting, "BATCH", 1)
    first = old(12)
    seal(batch=3)
    rows, left = events(first), []
    monkeypatch.setattr(cutting.time, "monotonic", iter(range(10_000)).__next__)
    while events(first):
        cutting.run(budget_sec=3)
        left.append(events(first))
        assert "Rebuilt from the archive: 1 deployments" in verify()
    assert len(left) > 3
    assert left == sorted(left, reverse=True)
    assert sum(found.rows for found in AuditCut.objects.all()) == rows


# --- what stays -----------------------------------------------------------------------------------------------


def _retried(deployment: Deployment) -> None:
    retrying.retry(scene.admin(), deployment.pk)


STAYS: dict[str, tuple[timedelta, Callable[[Deployment], object]]] = {
    "ended lately": (timedelta(days=89), lambda _: None),
    "open": (
        old_log.YEAR,
        lambda it: Deployment.objects.filter(pk=it.pk).update(status="running", finished_at=None),
    ),
    "going on in another": (old_log.YEAR, _retried),
    "spoken of lately": (
        old_log.YEAR,
        lambda it: DeploymentEvent.objects.create(deployment=it, message="late", actor="system"),
    ),
}


@pytest.mark.parametrize("name", STAYS)
def test_it_stays_while_it_is(name: str) -> None:
    by, deed = STAYS[name]
    first = old(by=by)
    deed(first)
    seal()
    kept = events(first)
    assert (cutting.count(), cut(), events(first)) == (0, 0, kept)


def test_what_is_not_sealed_yet_stays() -> None:
    first = old()
    assert (cut(), events(first) > 0) == (0, True)


def test_nothing_goes_unless_somebody_asks_for_it(settings: Any) -> None:
    first = old()
    seal()
    settings.KEEP_EVENTS_DAYS = 0
    assert (cutting.count(), cut(), events(first) > 0) == (0, 0, True)
    assert zero_or("KEEP_EVENTS_DAYS", 0, 30) == 0
    assert zero_or("KEEP_EVENTS_DAYS", 30, 30) == 30
    with pytest.raises(ImproperlyConfigured, match="KEEP_EVENTS_DAYS must be 0 or at least 30, not 29"):
        zero_or("KEEP_EVENTS_DAYS", 29, 30)


def test_an_archive_that_cannot_be_written_keeps_everything(settings: Any, tmp_path: Path) -> None:
    first = old()
    seal()
    (tmp_path / "file").touch()
    settings.AUDIT_ARCHIVE_DIR = tmp_path / "file" / "folder"
    done = cutting.run(60)
    assert (done.rows, AuditCut.objects.count(), events(first) > 0) == (0, 0, True)
    assert "cannot be written" in done.troubles[0].message
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("retention", stdout=StringIO())


def test_of_two_events_that_would_go_the_trigger_lets_none_without_an_anchor_and_none_that_is_young() -> None:
    first, young = old(), old_log.ended()
    seal()
    with pytest.raises(Error, match="append-only"), transaction.atomic():
        run("DELETE FROM deployment_event WHERE deployment_id = %s", first.pk)
    seal_of = AuditSeal.objects.filter(stream="deployment_event").latest("number")
    AuditCut.objects.create(
        number=1, deployment=young, after_id=-(2**63), last_id=seal_of.last_id, rows=1, size_bytes=1,
        seal_number=seal_of.number, cut_at=timezone.now(),
    )  # fmt: skip
    with pytest.raises(Error, match="append-only"), transaction.atomic():
        run("SELECT cut_events(1, 100)")
    for sql in (
        "UPDATE deployment_event SET message = ''",
        "UPDATE audit_cut SET rows = 2",
        "DELETE FROM audit_cut",
    ):
        with pytest.raises(Error, match="append-only"), transaction.atomic():
            run(sql)


# --- what was not cut by an anchored cut is found -------------------------------------------------------------


@pytest.fixture
def after_a_cut(own_folder: Path) -> tuple[Deployment, Deployment]:
    """One deployment cut, one still in the log."""
    first, second = old(), old_log.ended()
    seal()
    cut()
    verify()
    return first, second


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM deployment_event WHERE id = (SELECT min(id) FROM deployment_event)",
        "DELETE FROM deployment_event",
        "UPDATE deployment_event SET message = 'forged' WHERE id = (SELECT max(id) FROM deployment_event)",
        "UPDATE deployment_event SET id = -id WHERE id = (SELECT max(id) FROM deployment_event)",
        "DELETE FROM audit_event WHERE action = 'audit.cut'",
        "DELETE FROM audit_cut",
        "UPDATE audit_cut SET rows = rows - 1",
        "UPDATE audit_cut SET last_id = last_id + 1000",
        "UPDATE audit_cut SET deployment_id = (SELECT max(id) FROM deployment)",
        "UPDATE audit_cut SET file = 'another.jsonl'",
        "UPDATE audit_cut SET sha256 = repeat('0', 64)",
        "UPDATE audit_cut SET mac = repeat('0', 64)",
        "DELETE FROM audit_seal WHERE stream = 'deployment_event' AND number = (SELECT seal_number FROM audit_cut)",
    ],
)
def test_a_deed_that_no_anchor_covers_is_found(after_a_cut: Any, forgery: str) -> None:
    seal()
    assert forged(lambda: run(forgery)) != ""
    verify()


def test_one_who_cuts_with_an_anchor_of_his_own_is_found_without_the_key(
    after_a_cut: tuple[Deployment, Deployment], settings: Any, own_folder: Path
) -> None:
    """He has every right in the database, and copies what the product does; the key he has not."""
    _, second = after_a_cut
    seal_of = AuditSeal.objects.filter(stream="deployment_event").latest("number")
    previous = AuditCut.objects.get()

    def forge() -> None:
        settings.AUDIT_KEY = ["a guess"]
        rows = events(second)
        portion = archive.Portion(second.pk, -(2**63), seal_of.last_id, rows, seal_of)
        made = cutting._anchor(portion, archive.write(portion))
        run("UPDATE audit_cut SET key_id = %s WHERE number = %s", previous.key_id, made.number)
        settings.AUDIT_KEY = []
        run("DELETE FROM deployment_event WHERE deployment_id = %s", second.pk)

    said = forged(forge)
    assert "cut 2 was changed or forged" in said
    assert f"of deployment {second.pk} are not what was sealed" in said, "and what he cut counts as removed"


def test_the_same_with_the_key_would_agree(after_a_cut: tuple[Deployment, Deployment]) -> None:
    """The negative control: it is the key that makes the difference."""
    _, second = after_a_cut
    Deployment.objects.filter(pk=second.pk).update(finished_at=timezone.now() - old_log.YEAR)
    seal_of = AuditSeal.objects.filter(stream="deployment_event").latest("number")
    portion = archive.Portion(second.pk, -(2**63), seal_of.last_id, events(second), seal_of)
    with transaction.atomic():
        cutting._anchor(portion, archive.write(portion))
        run("SET LOCAL session_replication_role = replica")
        run("DELETE FROM deployment_event WHERE deployment_id = %s", second.pk)
        run("SET LOCAL session_replication_role = origin")
    assert "Rebuilt from the archive: 2 deployments" in verify()


def test_a_byte_changed_anywhere_in_a_file_is_found() -> None:
    old()
    seal()
    cut()
    file = archive.folder() / AuditCut.objects.get().file
    written = file.read_bytes()

    @hypothesis_settings(max_examples=40)
    @given(at=st.integers(0, len(written) - 1), to=st.integers(0, 255))
    def changed(at: int, to: int) -> None:
        file.write_bytes(written[:at] + bytes([to]) + written[at + 1 :])
        if written[at] == to:
            assert "Rebuilt from the archive: 1 deployments" in verify()
        else:
            assert "was changed since it was written" in refused()

    changed()


def test_a_file_with_a_changed_event_and_an_anchor_made_to_fit_is_found(after_a_cut: Any) -> None:
    made = AuditCut.objects.get()
    file = archive.folder() / made.file
    file.write_text(file.read_text().replace("apk_invalid", "apk_INVALID"))
    assert "was changed since it was written" in refused()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert "was changed or forged" in forged(lambda: run("UPDATE audit_cut SET sha256 = %s", digest))

    def with_the_key() -> None:
        """Even the key's owner cannot make other events out of those that were sealed."""
        found = AuditCut.objects.get()
        found.sha256 = digest
        run("UPDATE audit_cut SET sha256 = %s, mac = %s", digest, all_keys()[0].mac(found.text("")))

    assert f"its events in {made.file} are not what was sealed" in forged(with_the_key)


def test_statuses_changed_behind_a_log_that_was_cut_are_found(
    after_a_cut: tuple[Deployment, Deployment],
) -> None:
    first, _ = after_a_cut
    DeploymentTask.objects.filter(deployment=first, status="failed").update(status="succeeded")
    assert f"#{first.pk}: device" in refused()
    assert f"#{first.pk}: device" in refused(str(first.pk))


def test_what_is_not_there_is_never_said_to_agree(
    after_a_cut: tuple[Deployment, Deployment], own_folder: Path, tmp_path: Path
) -> None:
    first, second = after_a_cut
    moved = tmp_path / "tape"
    own_folder.rename(moved)
    said = verify()
    assert "Rebuilt from the archive: 0 deployments (0 events)." in said
    assert f"Not seen: 1 deployments, whose files are not there (#{first.pk})." in said
    assert "Log and tables agree (1 deployments)." in said
    assert "Rebuilt from the archive: 1 deployments" in verify("--all", "--archive", str(moved))
    assert "Not seen" not in verify(str(second.pk))
    name = AuditCut.objects.get().file
    assert f"#{first.pk}: {name} is not in {own_folder}" in refused("--all", "--archive", str(own_folder))


def test_a_file_that_is_lost_before_the_cut_stops_it(
    monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    first, other = old(), old()
    seal()
    kept = events(first)
    with monkeypatch.context() as patch:
        patch.setattr(cutting, "_finish", lambda *_: (_ for _ in ()).throw(Undone))
        with pytest.raises(Undone):
            cutting.run(60)
    file = own_folder / AuditCut.objects.get().file
    content = file.read_bytes()
    file.unlink()
    done = cutting.run(60)
    assert (events(first), events(other), done.rows > 0) == (kept, 0, True), "nobody else waits for it"
    assert "stay until it is back" in done.troubles[0].message
    file.write_bytes(content)
    assert cut() == kept
    assert "Rebuilt from the archive: 2 deployments" in verify()


def test_a_changed_key_checks_what_the_old_one_signed(settings: Any) -> None:
    settings.AUDIT_KEY = ["old"]
    old()
    seal()
    cut()
    settings.AUDIT_KEY = ["new", "old"]
    old()
    seal()
    cut()
    assert "Rebuilt from the archive: 2 deployments" in verify()
    settings.AUDIT_KEY = ["new"]
    assert "cut 1 was signed with another key" in refused()
    assert seal_head.kept() is not None


def test_the_command_counts_and_cuts() -> None:
    first = old()
    seal()
    rows, out = events(first), StringIO()
    call_command("retention", "--dry-run", stdout=out)
    assert f"{rows:>12,}  {cutting.WORDS}" in out.getvalue()
    assert events(first) == rows
    call_command("retention", stdout=out)
    assert events(first) == 0
