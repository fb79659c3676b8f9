"""A reinstall: the app goes, then any version may come; whoever is left without it says so."""

from collections.abc import Callable
from typing import Any

from agent_api.simulator import SimulatedFleet
from tests.agent_api.simulator.scenes import play, send_to_first
from tests.agent_api.simulator.stand_in import StandIn

SPEEDTEST = {"package": "com.example.speedtest"}


def _said(server: StandIn, status: str) -> Callable[[SimulatedFleet], bool]:
    """Once the report has arrived."""
    return lambda _: server.statuses()[-1:] == [status]


def _told(server: StandIn) -> list[list[int]]:
    """The codes of the app in each inventory that was told."""
    packages: list[list[dict[str, Any]]] = [
        body["packages"] for body in server.bodies["heartbeat"] if "packages" in body
    ]
    return [[p["version_code"] for p in told if p["package"] == SPEEDTEST["package"]] for told in packages]


def test_a_reinstall_goes_down_to_an_older_version() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, code=7, install_mode="reinstall", apk=SPEEDTEST)
        await fleet.until(_said(server, "succeeded"), 10)
        await fleet.until(lambda _: _told(server)[-1] == [7], 10)
        assert _told(server)[0] == [40]

    play(scene)


def test_an_update_to_an_older_version_is_refused() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, code=7, apk=SPEEDTEST)
        await fleet.until(_said(server, "skipped"), 10)
        assert server.bodies["status"][-1]["error_code"] == "newer_installed"

    play(scene)


def test_whoever_is_left_without_the_app_says_so_and_has_it_after_the_next_attempt() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, code=7, install_mode="reinstall", apk=SPEEDTEST)
        await fleet.until(_said(server, "failed"), 10)
        assert server.bodies["status"][-1]["error_code"] == "reinstall_incomplete"
        await fleet.until(lambda _: _told(server)[-1] == [], 10)
        server.send(1, code=7, attempt=2, install_mode="reinstall", apk=SPEEDTEST)
        await fleet.until(lambda _: _told(server)[-1] == [7], 10)

    play(scene, left_without={"attempts": 1})


def test_the_agent_does_not_remove_itself() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, code=100, install_mode="reinstall")
        await fleet.until(_said(server, "failed"), 10)
        assert server.bodies["status"][-1]["error_code"] == "install_blocked"

    play(scene)
