"""Every state of a deployment and every move: what becomes of it, cell by cell (behaviour §1 and §10)."""

from collections.abc import Callable

import pytest

from apks import allowlist
from deployments import tick
from deployments.models import Deployment, DeploymentEvent
from deployments.operations import fleet_switch, lifecycle
from deployments.rules.options import DeploymentOptions
from deployments.rules.states import DEPLOYMENT_MOVES, DeploymentStatus
from devices.selection import Target
from mdm.problems import Problem
from tests.deployments import scene

pytestmark = pytest.mark.django_db


def _queued() -> Deployment:
    """Requested, and no worker has looked at it yet."""
    scene.enable()
    (device,) = scene.devices(1)
    pk = lifecycle.start(
        scene.admin(),
        apk_version_id=scene.version().pk,
        target=Target.model_validate({"type": "selection", "device_ids": [device.pk]}),
        options=DeploymentOptions.from_json(scene.EASY),
    )
    return Deployment.objects.get(pk=pk)


def _running(**options: object) -> Deployment:
    return scene.start(scene.devices(2), **options)


def _moved(move: str, start: Callable[[], Deployment] = _running) -> Deployment:
    deployment = start()
    MOVES[move](deployment)
    return deployment


def _by_gate(code: str, **options: object) -> Deployment:
    fleet = scene.devices(2)
    deployment = scene.start(fleet, **options)
    assert scene.beat(fleet[0])
    scene.report(deployment, fleet[0], "failed", error_code=code)
    tick.advance(deployment.pk)
    return deployment


def _undecided() -> Deployment:
    fleet = scene.devices(2)
    deployment = scene.start(fleet, canary=1, canary_timeout_min=1)
    assert scene.beat(fleet[0])
    scene.age(deployment, minutes=2)
    tick.advance(deployment.pk)
    return deployment


def _complete() -> Deployment:
    (device,) = scene.devices(1)
    deployment = scene.start([device])
    scene.install(deployment, device)
    tick.advance(deployment.pk)
    return deployment


def _failed() -> Deployment:
    deployment = scene.start(scene.devices(1, sdk_int=20))
    tick.advance(deployment.pk)
    return deployment


def _killed_and_released() -> Deployment:
    deployment = _moved("switch on")
    MOVES["switch off"](deployment)
    return deployment


def _switch(**turned: bool) -> None:
    fleet_switch.change(scene.admin(), reason="drill", **turned)


MOVES: dict[str, Callable[[Deployment], object]] = {
    "pause": lambda it: lifecycle.pause(scene.admin(), it.pk),
    "resume": lambda it: lifecycle.resume(scene.admin(), it.pk),
    "resume, why": lambda it: lifecycle.resume(scene.admin(), it.pk, reason="looked at it"),
    "cancel": lambda it: lifecycle.cancel(scene.admin(), it.pk),
    "pace": lambda it: lifecycle.change_pace(scene.admin(), it.pk, rate=7),
    "switch on": lambda it: _switch(kill_switch=True),
    "switch off": lambda it: _switch(kill_switch=False),
    "flag off": lambda it: _switch(deployments_enabled=False),
    "withdraw": lambda it: allowlist.withdraw(scene.admin(), it.to_version_id, "bad"),
    "unmanage": lambda it: allowlist.unmanage_package(scene.admin(), scene.PACKAGE),
}
STATES: dict[str, Callable[[], Deployment]] = {
    "queued": _queued,
    "running": _running,
    "paused": lambda: _moved("pause"),
    "paused while queued": lambda: _moved("pause", _queued),
    "canary_failed": lambda: _by_gate("apk_invalid", canary=1),
    "canary_undecided": _undecided,
    "failure_rate": lambda: _by_gate("apk_invalid", max_failures=1),
    "kill_switch": lambda: _moved("switch on"),
    "kill_switch, off again": _killed_and_released,
    "flag_off": lambda: _moved("flag off"),
    "version_withdrawn": lambda: _moved("withdraw"),
    "not_managed": lambda: _moved("unmanage"),
    "canceled": lambda: _moved("cancel"),
    "complete": _complete,
    "failed": _failed,
}
# One column per move, in their order. `=` nothing changes; a number is the refusal; else the state after, where
# a paused reason means paused.
TABLE = """
                       | pause    resume  why     cancel   pace on          off flag     withdraw          unmanage
queued                 | operator =       =       canceled =    kill_switch =   flag_off version_withdrawn not_managed
running                | operator =       =       canceled =    kill_switch =   flag_off version_withdrawn not_managed
paused                 | =        running running canceled =    =           =   =        =                 =
paused while queued    | =        queued  queued  canceled =    =           =   =        =                 =
canary_failed          | =        422     running canceled =    =           =   =        =                 =
canary_undecided       | =        422     running canceled =    =           =   =        =                 =
failure_rate           | =        422     running canceled =    =           =   =        =                 =
kill_switch            | =        409     409     canceled =    =           =   =        =                 =
kill_switch, off again | =        running running canceled =    =           =   =        =                 =
flag_off               | =        403     403     canceled =    =           =   =        =                 =
version_withdrawn      | =        409     409     canceled =    =           =   =        =                 =
not_managed            | =        409     409     canceled =    =           =   =        =                 =
canceled               | 409      409     409     =        409  =           =   =        =                 =
complete               | 409      409     409     409      409  =           =   =        =                 =
failed                 | 409      409     409     409      409  =           =   =        =                 =
"""
CELLS = [
    (line.partition("|")[0].strip(), move, cell)
    for line in TABLE.strip("\n").splitlines()[1:]
    for move, cell in zip(MOVES, line.partition("|")[2].split(), strict=True)
]


def _state(deployment: Deployment) -> str:
    status, reason = scene.state(deployment)
    return reason or status


@pytest.mark.parametrize(
    ("state", "move", "cell"), CELLS, ids=[f"{state} + {move} = {cell}" for state, move, cell in CELLS]
)
def test_a_move(state: str, move: str, cell: str) -> None:
    deployment = STATES[state]()
    before, logged = _state(deployment), scene.events(deployment)
    if cell.isdigit():
        with pytest.raises(Problem) as refused:
            MOVES[move](deployment)
        assert refused.value.status == int(cell)
        if cell == "409":
            assert refused.value.extra["current_status"] == scene.state(deployment)[0]
        assert (_state(deployment), scene.events(deployment)) == (before, logged)
        return
    MOVES[move](deployment)
    expected = before if cell == "=" else cell
    assert _state(deployment) == expected
    if cell == "=":
        assert scene.events(deployment) - logged <= (1 if move in ("pace", "switch off") else 0)
    else:
        _check_logged(deployment, before)


def _check_logged(deployment: Deployment, before: str) -> None:
    moved = DeploymentEvent.objects.filter(
        deployment=deployment, device=None, meta__has_keys=["before", "after"]
    )
    event = moved.order_by("id").last()
    assert event is not None
    assert event.meta["after"] == scene.state(deployment)[0]
    assert event.meta["before"] == (before if before in DeploymentStatus.values else "paused")
    assert event.actor == "user:ada"


@pytest.mark.parametrize(
    "move", ["pause", "resume, why", "cancel", "switch on", "flag off", "withdraw", "unmanage"]
)
def test_a_move_made_twice_is_made_once(move: str) -> None:
    deployment = _moved("pause") if move.startswith("resume") else _running()
    MOVES[move](deployment)
    state, logged = scene.state(deployment), scene.events(deployment)
    MOVES[move](deployment)
    assert (scene.state(deployment), scene.events(deployment)) == (state, logged)


ACTS: dict[str, Callable[..., None]] = {
    "pause": lifecycle.pause,
    "resume": lifecycle.resume,
    "cancel": lifecycle.cancel,
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("expected", [status for status in DeploymentStatus.values if status != "paused"])
def test_a_stale_expectation_is_refused_with_the_status_now(act: str, expected: str) -> None:
    deployment = _moved("pause")
    with pytest.raises(Problem) as refused:
        ACTS[act](scene.admin(), deployment.pk, reason="r", expected_status=expected)
    assert (refused.value.status, refused.value.extra) == (409, {"current_status": "paused"})
    assert scene.state(deployment) == ("paused", "operator")


@pytest.mark.parametrize("act", ACTS)
def test_a_true_expectation_lets_the_move_through(act: str) -> None:
    deployment = _running() if act == "pause" else _moved("pause")
    expected = "running" if act == "pause" else "paused"
    ACTS[act](scene.admin(), deployment.pk, expected_status=expected)
    assert scene.state(deployment)[0] == {"pause": "paused", "resume": "running", "cancel": "canceled"}[act]


@pytest.mark.parametrize("act", ACTS)
def test_nobody_moves_a_deployment_that_does_not_exist(act: str) -> None:
    with pytest.raises(Problem) as refused:
        ACTS[act](scene.admin(), 999_999)
    assert refused.value.status == 404


def test_no_move_leads_out_of_a_terminal_status() -> None:
    for status in ("canceled", "complete", "failed"):
        assert not DEPLOYMENT_MOVES[DeploymentStatus(status)]


@pytest.mark.parametrize("pace", [{"rate": 0}, {"concurrency": 0}, {"rate": 100_001}, {"concurrency": -3}])
def test_a_pace_out_of_bounds_is_refused_at_every_door(pace: dict[str, int]) -> None:
    deployment = _running()
    with pytest.raises(Problem) as refused:
        lifecycle.change_pace(scene.admin(), deployment.pk, **pace)
    assert refused.value.status == 422
    assert list(refused.value.errors) == list(pace)


def test_a_change_of_pace_is_audited_with_before_and_after() -> None:
    deployment = _running()
    lifecycle.change_pace(scene.admin(), deployment.pk, rate=7, concurrency=2)
    event = DeploymentEvent.objects.filter(deployment=deployment).order_by("id").last()
    assert event is not None
    assert event.meta == {
        "before": {"rate": 1000, "concurrency": 1000},
        "after": {"rate": 7, "concurrency": 2},
    }
    deployment.refresh_from_db()
    assert (deployment.options["rate"], deployment.options["concurrency"]) == (7, 2)
    assert deployment.options["canary"] == 0


def test_a_slower_pace_holds_at_once_and_a_faster_one_lets_go() -> None:
    fleet = scene.devices(3)
    deployment = scene.start(fleet, rate=2)
    assert scene.beat(fleet[0])
    lifecycle.change_pace(scene.admin(), deployment.pk, rate=1)
    assert scene.beat(fleet[1]) is None
    lifecycle.change_pace(scene.admin(), deployment.pk, rate=3)
    assert scene.beat(fleet[1])
