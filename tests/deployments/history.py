"""What may happen to a fleet, in any order: the moves of the random histories (test_histories)."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from apks import allowlist
from deployments import tick
from deployments.engine import reaper
from deployments.models import Deployment, DeploymentTask
from deployments.operations import beginning, fleet_switch, lifecycle, retrying, rollback
from deployments.operations.rollback import Consent
from deployments.rules.states import IN_FLIGHT
from deployments.rules.window import DAYS
from devices import changes, enrollment
from devices.enrollment import EnrollIn
from devices.models import Device, Heartbeat
from mdm.people import Actor
from mdm.problems import Problem
from tests.deployments import scene
from tests.factories import enrollment_token

DEVICES, STARTED, DEPLOYMENTS = 5, 3, 6
ONE = st.integers(0, DEVICES - 1)
WHICH = st.integers(0, DEPLOYMENTS - 1)
NOW_AND_THEN = st.sampled_from([False, False, False, True])
STATUSES = st.sampled_from(["received", "downloading", "installing", "succeeded", "failed", "skipped"])
CODES = st.sampled_from(
    [
        *("install_internal", "apk_invalid", "download_network", "not_permitted", "checksum_mismatch"),
        *("battery_low", "outside_window", "canceled", "kill_switch", "already_installed", "nonsense"),
        "reinstall_incomplete",
    ]
)
# The first has a rebuild to go back to, the second only its older version.
PACKAGES = [scene.PACKAGE, "com.nexmdm.unity"]
GOOD, BAD, REBUILD = 120, 121, 122
ZONES = st.sampled_from([None, None, "UTC", "Asia/Tokyo"])
READINGS = st.sampled_from(
    [{}, {}, {}, {"battery": 5}, {"network": "cellular"}, {"in_use": True}, {"free_storage_mb": 1}]
)
OPTIONS = st.fixed_dictionaries(
    {
        "canary": st.integers(0, 2),
        "rate": st.integers(1, 4),
        "concurrency": st.integers(1, 3),
        "retry": st.builds(lambda retries: {"max": retries, "backoff_sec": 1}, st.integers(0, 2)),
        "window": st.sampled_from([None, None, "open in UTC alone"]),
        "max_failures": st.sampled_from([None, 1, 2]),
        "deadline_hours": st.sampled_from([0, 1]),
        "canary_timeout_min": st.sampled_from([5, 600]),
        "canary_soak_min": st.sampled_from([0, 0, 3]),
        "max_per_group": st.sampled_from([None, 1, 2]),
        "spread_groups": st.sampled_from([None, "shop-*", "shop-2"]),
        "health_within_min": st.sampled_from([None, None, 15]),
        "post_install": st.sampled_from([{}, {"restart_intent": {"action": "com.nexmdm.RESTART"}}]),
    }
)


@contextmanager
def or_refused() -> Iterator[None]:
    """A refusal is an answer, too."""
    try:
        yield
    except Problem as problem:
        if problem.status not in (403, 409, 422):
            raise


def _window() -> dict[str, Any]:
    """By each device's own clock: whatever the time is, it is open where that is UTC and shut in Tokyo."""
    start, end = (f"{datetime.now(UTC) + timedelta(hours=hours):%H:%M}" for hours in (-1, 1))
    return {"days": list(DAYS), "start": start, "end": end, "tz": "device"}


def installed(code: int) -> dict[str, Any]:
    return {package: {"version_code": code, "version_name": f"1.0.{code}"} for package in PACKAGES}


class Moves(RuleBasedStateMachine):
    """Each history runs in a savepoint of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        self.finals: dict[int, str] = {}
        self.sent: set[int] = set()
        self.alone: set[int] = set()
        self.quiet: dict[int, int] = {}
        self.seen: dict[int, tuple[str, datetime | None]] = {}
        self.beats: Counter[int] = Counter()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.savepoint.__exit__(None, None, None)

    @initialize()
    def a_fleet(self) -> None:
        scene.enable()
        User.objects.get_or_create(username="bob", is_superuser=True)
        known = {"current_versions": installed(GOOD)}
        self.devices = [
            *scene.devices(2, groups=["shop-1"], **known),
            *scene.devices(1, groups=["shop-1", "shop-2"], **known),
            *scene.devices(1, groups=["shop-2", "north"], model="TC57", **known),
            *scene.devices(1, groups=["shop-2"], sdk_int=20, **known),
        ]
        good = [scene.version(GOOD, package=package) for package in PACKAGES]
        self.versions = [scene.version(BAD, package=package) for package in PACKAGES]
        scene.version(REBUILD, package=PACKAGES[0], rebuild_of=good[0])

    @property
    def deployments(self) -> list[Deployment]:
        return list(Deployment.objects.order_by("id"))

    def _deployment(self, which: int) -> Deployment | None:
        found = self.deployments
        return found[which % len(found)] if found else None

    # --- people ----------------------------------------------------------------------------------------------

    @rule(options=OPTIONS, chosen=st.sets(ONE, min_size=1), package=st.integers(0, 1))
    def start(self, options: dict[str, Any], chosen: set[int], package: int) -> None:
        if len(self.deployments) < STARTED:
            fleet = [self.devices[index] for index in sorted(chosen)]
            options = options | {"window": _window() if options["window"] else None}
            with or_refused():
                scene.ask(fleet, to=self.versions[package], **options)

    @rule(which=WHICH, act=st.sampled_from(["pause", "resume", "resume", "cancel"]), why=st.booleans())
    def move(self, which: int, act: str, why: bool) -> None:
        if deployment := self._deployment(which):
            with or_refused():
                getattr(lifecycle, act)(scene.admin(), deployment.pk, reason="a reason" if why else "")

    @rule(which=WHICH)
    def approve(self, which: int) -> None:
        if deployment := self._deployment(which):
            with or_refused():
                beginning.approve(Actor.person(User.objects.get(username="bob")), deployment.pk)

    @rule(which=WHICH)
    def try_again(self, which: int) -> None:
        deployment = self._deployment(which)
        if deployment and len(self.deployments) < DEPLOYMENTS:
            with or_refused():
                tick.advance(retrying.retry(scene.admin(), deployment.pk))

    @rule(which=WHICH)
    def go_back(self, which: int) -> None:
        deployment = self._deployment(which)
        if deployment and len(self.deployments) < DEPLOYMENTS:
            consent = Consent(accept_data_loss=True, confirm_version=f"1.0.{GOOD}")
            with or_refused():
                tick.advance(rollback.roll_back(scene.admin(), deployment.pk, consent))

    @rule(which=WHICH, rate=st.integers(1, 5), concurrency=st.sampled_from([None, 1, 4]))
    def change_pace(self, which: int, rate: int, concurrency: int | None) -> None:
        if deployment := self._deployment(which):
            with or_refused():
                lifecycle.change_pace(scene.admin(), deployment.pk, rate=rate, concurrency=concurrency)

    @rule(
        on=st.sampled_from([False, False, True]),
        which=st.sampled_from(["kill_switch", "deployments_enabled"]),
    )
    def switch(self, on: bool, which: str) -> None:
        wanted = on if which == "kill_switch" else not on
        fleet_switch.change(scene.admin(), reason="drill", **{which: wanted})

    @rule(package=st.integers(0, 1), off=NOW_AND_THEN, withdrawn=NOW_AND_THEN)
    def allow(self, package: int, off: bool, withdrawn: bool) -> None:
        act = allowlist.unmanage_package if off else allowlist.manage_package
        act(scene.admin(), PACKAGES[package])
        if off and withdrawn:
            allowlist.withdraw(scene.admin(), self.versions[package].pk, "bad")

    @rule(one=ONE, status=st.sampled_from(["active", "active", "retired"]))
    def retire(self, one: int, status: Any) -> None:
        changes.change(scene.admin(), self.devices[one].pk, changes.DeviceChanges(status=status))

    @rule(one=ONE, hours=st.sampled_from([-1, -1, 1]), group=st.sampled_from(["shop-1", "shop-2"]))
    def label(self, one: int, hours: int, group: str) -> None:
        until = timezone.now() + timedelta(hours=hours)
        wanted = changes.DeviceChanges(hold_until=until, groups=[group])
        changes.change(scene.admin(), self.devices[one].pk, wanted)

    # --- devices ---------------------------------------------------------------------------------------------

    @rule(
        one=ONE,
        package=st.integers(0, 1),
        reads=READINGS,
        shows=st.sampled_from([None, None, GOOD, BAD]),
        tz=ZONES,
    )
    def beat(self, one: int, package: int, reads: dict[str, Any], shows: int | None, tz: str | None) -> None:
        device = Device.objects.get(pk=self.devices[one].pk)
        if device.status == "retired":
            return  # refused at the door
        told = None
        if shows:
            known = {name: app["version_code"] for name, app in device.current_versions.items()}
            codes = known | {PACKAGES[package]: shows}
            told = [{"package": name, "version_code": code} for name, code in codes.items()]
        self.beats[device.pk] += 1
        command = scene.beat(device, packages=told, tz=tz, **reads)
        if command is not None:
            assert not fleet_switch.read()["kill_switch"]
            task = DeploymentTask.objects.get(deployment_id=command["deployment_id"], device=device)
            assert (task.status, task.attempt) == ("sending", command["attempt"])

    @rule(one=ONE, which=WHICH, status=STATUSES, code=CODES, ago=st.sampled_from([0, 0, 0, 0, 1, -1, None]))
    def report(self, one: int, which: int, status: str, code: str, ago: int | None) -> None:
        deployment, device = self._deployment(which), self.devices[one]
        task = DeploymentTask.objects.filter(deployment=deployment, device=device).first()
        if deployment is None or task is None:
            return
        attempt = None if ago is None else max(1, task.attempt - ago)
        said = code if status in ("failed", "skipped") else None
        restart = ["ok", "failed", None][one % 3]
        answer = scene.report(
            deployment, device, status, error_code=said, attempt=attempt, post_install=restart
        )
        now = scene.task(deployment, device)
        assert answer.http_status in (200, 409)
        assert (answer.body["status"], answer.body["attempt"]) == (now.status, now.attempt)

    @rule(one=ONE, well=st.booleans())
    def work(self, one: int, well: bool) -> None:
        """Whatever the device is at, it finishes."""
        for task in DeploymentTask.objects.filter(device=self.devices[one], status__in=IN_FLIGHT):
            said = {} if well or task.phase == "verifying" else {"error_code": "apk_invalid"}
            answer = scene.report(
                task.deployment, self.devices[one], "failed" if said else "succeeded", **said
            )
            assert answer.http_status == 200

    @rule(one=ONE, which=WHICH)
    def ask(self, one: int, which: int) -> None:
        """Before it starts, and before it commits."""
        deployment, device = self._deployment(which), self.devices[one]
        task = DeploymentTask.objects.filter(deployment=deployment, device=device).first()
        if deployment is None or task is None:
            return
        answer = scene.confirm(deployment, device)
        stands = task.status in IN_FLIGHT and task.phase != "verifying"
        hard = deployment.paused_reason in ("kill_switch", "flag_off", "version_withdrawn", "not_managed")
        if fleet_switch.read()["kill_switch"] or hard or not stands:
            assert answer.http_status == 410
        else:
            assert (answer.http_status, answer.body["attempt"]) == (200, task.attempt)

    @rule(one=ONE)
    def enrol_anew(self, one: int) -> None:
        device = Device.objects.get(pk=self.devices[one].pk)
        _, text = enrollment_token(device=device)
        packages = [{"package": name, "version_code": GOOD} for name in PACKAGES]
        said = {
            "enrollment_token": text,
            "serial": device.serial,
            "model": device.model,
            "packages": packages,
        }
        enrolled = enrollment.enroll(EnrollIn.model_validate(said | {"sdk_int": device.sdk_int}))
        assert enrolled.device_id == device.pk

    # --- time and engine -------------------------------------------------------------------------------------

    @rule(span=st.sampled_from([2, 2, 61, 61, 360, 1200, 7200, 90_000]))
    def wait(self, span: int) -> None:
        for deployment in self.deployments:
            scene.age(deployment, seconds=span)
        by = timedelta(seconds=span)
        Heartbeat.objects.update(received_at=F("received_at") - by)
        Device.objects.update(hold_until=F("hold_until") - by)

    @rule()
    def step(self) -> None:
        reaper.reap(timezone.now())
        for deployment in self.deployments:
            tick.advance(deployment.pk)
