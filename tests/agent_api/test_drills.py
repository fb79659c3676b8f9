"""Every drill against a started product: green as it is, red where the product does not do as it must."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from agent_api.drills.operator import Operator, Red
from tests.mdm.instance import CHECKOUT, Instance

PATIENCE_SEC = 400


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with Instance(tmp_path_factory.mktemp("drills") / "var", ADMIN_PASSWORD="only for this test") as started:
        yield started


@pytest.fixture(scope="module")
def api(instance: Instance) -> Iterator[httpx.Client]:
    token = instance.manage("api_token", "admin").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{instance.port}", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def switched_on(api: httpx.Client) -> None:
    _switch(api, deployments_enabled=True)


def _switch(api: httpx.Client, **change: bool) -> None:
    assert api.put("/v1/fleet-switch", json={**change, "reason": "test"}).status_code == 200


def drill(instance: Instance, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "drill", name, *options],
        cwd=CHECKOUT,
        env=instance.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SEC,
        check=False,
    )


SEEN = {
    "canary-failure": (
        "only the canary was sent to",
        "going back is offered, by a rebuild",
        "an alert is open",
    ),
    "failure-limit-rollback": (
        "the rollback reached exactly the devices that had the bad version",
        "those have the rebuild, all others are as they were",
        "a second press is refused with the state",
    ),
    "kill-switch": ("nothing was sent since", "nothing can be started", "all 8 devices succeeded"),
    "lost-workers": (
        "killed with SIGKILL",
        "devices still get commands",
        "workers were started again",
        "each was handed exactly one command",
        "never more than 2 at work at once",
    ),
}


@pytest.mark.usefixtures("switched_on")
@pytest.mark.parametrize("name", SEEN)
def test_it_ends_green_and_prints_what_it_saw(instance: Instance, api: httpx.Client, name: str) -> None:
    done = drill(instance, name)
    assert done.returncode == 0, done.stdout + done.stderr
    for sentence in SEEN[name]:
        assert sentence in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1].endswith(f"GREEN: {name}")
    _nothing_is_left(api)


def _nothing_is_left(api: httpx.Client) -> None:
    assert api.get("/v1/devices?groups=drill&status=active").json()["count"] == 0
    for status in ("queued", "running", "paused"):
        assert api.get(f"/v1/deployments?status={status}").json()["count"] == 0
    switch = api.get("/v1/fleet-switch").json()
    assert (switch["kill_switch"], switch["deployments_enabled"]) == (False, True)


@pytest.mark.usefixtures("switched_on")
def test_it_is_red_when_its_time_is_up(instance: Instance, api: httpx.Client) -> None:
    done = drill(instance, "canary-failure", "--seconds", "1")
    assert done.returncode == 1
    assert "RED: waited for" in done.stdout
    _nothing_is_left(api)


def test_it_is_red_while_deployments_are_switched_off(instance: Instance, api: httpx.Client) -> None:
    _switch(api, deployments_enabled=False)
    done = drill(instance, "kill-switch")
    assert done.returncode == 1
    assert "RED: expected: deployments are switched on" in done.stdout


def test_it_is_red_where_no_server_answers(instance: Instance) -> None:
    done = drill(instance, "kill-switch", "--server", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "got no answer" in done.stdout


@pytest.mark.parametrize(
    "wrong", [["no-such-drill"], ["kill-switch", "--seconds", "0"], ["kill-switch", "--user", "x"]]
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(instance: Instance, wrong: list[str]) -> None:
    done = drill(instance, *wrong)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


def test_what_is_not_seen_is_red() -> None:
    said: list[str] = []
    operator = Operator("http://127.0.0.1:9", "token", 0, said.append)
    operator.check("two and two are four", 2 + 2 == 4)
    with pytest.raises(Red, match="expected: nothing was sent; seen: 3"):
        operator.check("nothing was sent", False, 3)
    with pytest.raises(Red, match="waited for: a miracle"):
        operator.until("a miracle", lambda: None)
    operator.close()
    assert said == ["two and two are four"]
