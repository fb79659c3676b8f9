"""What becomes of every report in every state of its task: behaviour §8, cell by cell."""

from datetime import timedelta

import pytest
from django.utils import timezone

from deployments import tick
from deployments.engine import reports
from deployments.models import DeploymentAttempt, DeploymentEvent, DeploymentTask
from deployments.operations import fleet_switch
from deployments.rules.report_body import Report
from deployments.rules.states import task_state
from mdm.problems import Forbidden, NotFound
from tests.deployments import scene, stages

pytestmark = pytest.mark.django_db

REPORTS: dict[str, tuple[str, str | None]] = {
    "received": ("received", None),
    "downloading": ("downloading", None),
    "installing": ("installing", None),
    "succeeded": ("succeeded", None),
    "failed": ("failed", "install_aborted"),
    "low battery": ("skipped", "battery_low"),
    "stopped": ("skipped", "canceled"),
}

# One line per state, one cell per report in the order of REPORTS: `>state` taken (200), `=` known already (200,
# nothing changes or is logged), `!` refused (409, nothing changes but the log), `free` the device is let go.
TABLE = """
never sent                                   | ! ! ! ! ! ! !
sending                                      | >installing >installing >installing >succeeded >waiting >skipped >waiting
received                                     | = >installing >installing >succeeded >waiting >skipped >waiting
downloading                                  | = = >installing >succeeded >waiting >skipped >waiting
installing                                   | = = = >succeeded >waiting >skipped >waiting
waiting for its retry                        | = = = >succeeded ! ! =
waiting after no answer                      | ! ! ! >succeeded ! ! =
waiting after a time-out                     | ! ! ! >succeeded ! ! =
waiting as the agent found the window closed | = = = >succeeded ! ! =
waiting after it stopped as told             | = = = >succeeded ! ! =
skipped, to be checked again                 | = = = >succeeded ! = =
skipped for good                             | = = = >succeeded ! ! =
canceled before it was sent                  | ! ! ! ! ! ! !
canceled in flight                           | ! ! ! >succeeded !free !free >free
canceled, stopped as told                    | = = = >succeeded ! ! =
canceled, silent until its deadline          | ! ! ! >succeeded ! ! =
retired in flight                            | ! ! ! >succeeded !free !free >free
enrolled anew in flight                      | ! ! ! >succeeded ! ! =
called back by a gate                        | ! ! ! >succeeded ! ! =
at work while the switch is on               | = >installing >installing >succeeded >waiting >skipped >waiting
at work on a withdrawn version               | = >installing >installing >succeeded >waiting >skipped >waiting
failed                                       | = = = >succeeded ! ! =
succeeded                                    | = = = = ! ! =
"""
CELLS = [
    (state.strip(), report, cell)
    for state, _, cells in (line.partition("|") for line in TABLE.strip().splitlines())
    for report, cell in zip(REPORTS, cells.split(), strict=True)
]


def _kind(task: DeploymentTask) -> str:
    ended = task.status in ("succeeded", "failed") or task.next_run_at is None
    return task_state(task.status, final=ended)


@pytest.mark.parametrize(
    ("state", "report", "cell"), CELLS, ids=[f"{state} + {report} = {cell}" for state, report, cell in CELLS]
)
def test_a_report_of_the_current_attempt(state: str, report: str, cell: str) -> None:
    deployment, device = stages.STATES[state]()
    before, logged = stages.row(deployment, device), scene.events(deployment, device)
    status, code = REPORTS[report]
    answer = scene.report(deployment, device, status, error_code=code)
    task = scene.task(deployment, device)
    assert answer.http_status == (409 if cell[0] == "!" else 200)
    assert answer.body["status"] == task.status
    if cell in ("=", "!"):
        assert stages.row(deployment, device) == before
    elif cell[1:] == "free":
        reason = "device_retired" if state.startswith("retired") else "canceled"
        assert (task.status, task.reason, task.in_flight_until) == ("skipped", reason, None)
    else:
        assert _kind(task) == cell[1:]
    new = scene.events(deployment, device) - logged
    assert new == {"=": 0, "!free": 2}.get(cell, 1)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: f"{report} again changes nothing")
def test_the_same_report_twice_is_one_change_and_one_audit_row(report: str) -> None:
    deployment, device = stages.after(("received", None))
    status, code = REPORTS[report]
    assert scene.report(deployment, device, status, error_code=code).http_status == 200
    before, logged = stages.row(deployment, device), scene.events(deployment, device)
    for _ in range(3):
        assert scene.report(deployment, device, status, error_code=code).http_status == 200
    assert stages.row(deployment, device) == before
    assert scene.events(deployment, device) == logged


@pytest.mark.parametrize("said", ["failed", "skipped"])
@pytest.mark.parametrize("code", ["not_permitted", "user_declined"])
def test_a_refusal_by_policy_or_person_skips_for_good_and_is_not_bad(said: str, code: str) -> None:
    deployment, device = stages.after((said, code))
    task = scene.task(deployment, device)
    assert (task.status, task.reason, task.next_run_at) == ("skipped", code, None)
    assert task.acknowledged_failure_at is None
    assert scene.report(deployment, device, said, error_code=code).http_status == 200
    assert scene.events(deployment, device) == 2


FLAGS = {
    "sending": (False, False),
    "installing": (False, False),
    "waiting for its retry": (False, True),
    "skipped, to be checked again": (False, True),
    "skipped for good": (True, True),
    "canceled in flight": (True, True),
    "failed": (True, True),
    "succeeded": (True, False),
}


@pytest.mark.parametrize("state", FLAGS, ids=lambda state: f"{state}: final, cancel = {FLAGS[state]}")
def test_the_answer_says_whether_it_is_over_and_whether_to_stop(state: str) -> None:
    deployment, device = stages.STATES[state]()
    report = "installing" if state != "sending" else "received"
    body = scene.report(deployment, device, report).body
    assert (body["final"], body["cancel"]) == FLAGS[state]
    assert body["attempt"] == 1


def test_a_device_at_work_is_told_to_stop_while_the_switch_is_on() -> None:
    deployment, device = stages.after(("received", None))
    fleet_switch.change(scene.admin(), kill_switch=True, reason="drill")
    answer = scene.report(deployment, device, "downloading")
    assert (answer.http_status, answer.body["cancel"], answer.body["final"]) == (200, True, False)


# --- older and future attempts -------------------------------------------------------------------------------


def _second_attempt() -> stages.Stage:
    deployment, device = stages.after(("failed", "install_internal"))
    scene.age(deployment, seconds=10)
    assert scene.beat(device)
    assert scene.task(deployment, device).attempt == 2
    return deployment, device


@pytest.mark.parametrize("report", [name for name in REPORTS if name != "succeeded"])
@pytest.mark.parametrize("attempt", [1, 3], ids=["an older attempt", "an attempt never sent"])
def test_a_report_of_another_attempt_is_refused_and_logged(report: str, attempt: int) -> None:
    deployment, device = _second_attempt()
    before, logged = stages.row(deployment, device), scene.events(deployment, device)
    status, code = REPORTS[report]
    answer = scene.report(deployment, device, status, error_code=code, attempt=attempt)
    assert (answer.http_status, answer.body["status"], answer.body["attempt"]) == (409, "sending", 2)
    assert stages.row(deployment, device) == before
    assert scene.events(deployment, device) == logged + 1


def test_a_success_of_an_older_attempt_is_the_truth() -> None:
    deployment, device = _second_attempt()
    assert scene.report(deployment, device, "succeeded", attempt=1).http_status == 200
    task = scene.task(deployment, device)
    assert (task.status, task.in_flight_until) == ("succeeded", None)


def test_a_success_of_an_attempt_never_sent_is_refused() -> None:
    deployment, device = stages.sending()
    assert scene.report(deployment, device, "succeeded", attempt=2).http_status == 409
    assert scene.task(deployment, device).status == "sending"


# --- the rest ------------------------------------------------------------------------------------------------


def test_a_failed_restart_is_shown_and_audited_and_the_task_stays_succeeded() -> None:
    deployment, device = stages.after(("installing", None))
    assert scene.report(deployment, device, "succeeded", post_install="failed").http_status == 200
    task, event = scene.task(deployment, device), DeploymentEvent.objects.last()
    assert (task.status, task.post_install) == ("succeeded", "failed")
    assert event is not None
    assert (event.level, event.meta["post_install"]) == ("warn", "failed")


def test_the_restart_may_be_told_later_and_is_audited_once() -> None:
    deployment, device = stages.after(("succeeded", None))
    logged = scene.events(deployment, device)
    for _ in range(2):
        assert scene.report(deployment, device, "succeeded", post_install="ok").http_status == 200
    assert scene.task(deployment, device).post_install == "ok"
    assert scene.events(deployment, device) == logged + 1


def test_progress_keeps_the_task_alive_without_filling_the_log() -> None:
    deployment, device = stages.after(("downloading", None))
    logged = scene.events(deployment, device)
    scene.age(deployment, minutes=14)
    for progress in (10, 20, 20):
        assert scene.report(deployment, device, "downloading", progress=progress).http_status == 200
    task = scene.task(deployment, device)
    assert task.progress == 20
    assert task.in_flight_until is not None
    assert task.in_flight_until > timezone.now() + timedelta(minutes=14)
    assert scene.events(deployment, device) == logged


def test_progress_cannot_stretch_the_attempt_beyond_its_bound() -> None:
    deployment, device = stages.after(("downloading", None))
    scene.age(deployment, minutes=115)
    scene.report(deployment, device, "downloading", progress=10)
    task = scene.task(deployment, device)
    assert task.in_flight_until == task.install_until


def test_an_agent_that_replaces_itself_may_be_silent_until_the_bound_of_the_attempt() -> None:
    deployment, device = stages.after(("installing", None))
    task = scene.task(deployment, device)
    assert task.in_flight_until == task.install_until
    scene.report(deployment, device, "installing", progress=50)
    task = scene.task(deployment, device)
    assert task.in_flight_until == task.install_until


def test_another_package_has_to_show_progress() -> None:
    (device,) = scene.devices(1)
    deployment = scene.start([device], to=scene.version(7, package="com.nexmdm.unity"))
    assert scene.beat(device)
    scene.report(deployment, device, "installing")
    task = scene.task(deployment, device)
    assert task.in_flight_until is not None
    assert task.in_flight_until < timezone.now() + timedelta(minutes=16)


def test_an_unknown_error_code_is_kept_as_text_and_treated_as_internal() -> None:
    deployment, device = stages.after(("received", None))
    scene.report(deployment, device, "failed", error_code="cosmic_ray", error="bit 7")
    task = scene.task(deployment, device)
    assert (task.status, task.error_code, task.last_error) == ("queued", "internal", "cosmic_ray: bit 7")


def test_an_agent_that_finds_the_window_closed_counts_no_failure() -> None:
    deployment, device = stages.after(("skipped", "outside_window"))
    task = scene.task(deployment, device)
    assert (task.status, task.failures, task.acknowledged_failure_at) == ("waiting_window", 0, None)


def test_the_ledger_remembers_every_step_of_an_attempt() -> None:
    deployment, _ = stages.after(("received", None), ("installing", None), ("succeeded", None))
    row = DeploymentAttempt.objects.get(deployment=deployment)
    moments = [row.sent_at, row.acknowledged_at, row.installing_at, row.finished_at]
    assert None not in moments
    assert moments == sorted(moment for moment in moments if moment)
    assert row.outcome == "succeeded"


def test_success_straight_from_sending_is_acknowledged_too() -> None:
    deployment, _ = stages.after(("succeeded", None))
    assert DeploymentAttempt.objects.get(deployment=deployment).acknowledged_at is not None


def test_another_devices_task_is_forbidden_and_an_unknown_deployment_not_found() -> None:
    deployment, device = stages.sending()
    (other,) = scene.devices(1)
    with pytest.raises(Forbidden):
        reports.report(scene.credential(other), deployment.pk, device.pk, Report("received"))
    with pytest.raises(NotFound):
        reports.report(scene.credential(other), deployment.pk, other.pk, Report("received"))
    with pytest.raises(NotFound):
        reports.report(scene.credential(device), deployment.pk + 1, device.pk, Report("received"))


def test_a_finished_task_is_not_reopened_by_a_late_fetch() -> None:
    deployment, device = stages.STATES["failed"]()
    tick.advance(deployment.pk)
    answer = scene.confirm(deployment, device)
    assert (answer.http_status, answer.body) == (410, {"status": "failed", "reason": "settled"})
    assert scene.beat(device) is None
    assert scene.task(deployment, device).status == "failed"
