import time

import pytest

from agent_api.simulator import SimulatedFleet
from tests.agent_api.simulator.scenes import ended, play, reported, send_to_first
from tests.agent_api.simulator.stand_in import Answer, StandIn


@pytest.mark.parametrize(
    ("step", "before"),
    [
        ("command", []),
        ("received", ["received"]),
        ("downloading", ["received", "downloading", "downloading"]),
        ("installing", ["received", "downloading", "downloading", "installing"]),
    ],
)
def test_a_device_fails_with_the_scripted_code_at_the_scripted_step(step: str, before: list[str]) -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(len(before) + 1), 10)
        assert server.statuses() == [*before, "failed"]
        assert server.bodies["status"][-1]["error_code"] == "made_up"

    play(scene, fail={"code": "made_up", "at": step})


def test_a_device_that_fails_at_its_first_attempt_succeeds_at_the_second() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(lambda _: "failed" in server.statuses(), 10)
        server.send(1, attempt=2)
        await fleet.until(ended("succeeded"), 10)

    play(scene, fail={"code": "download_network", "attempts": 1})


def test_a_probability_of_nothing_never_happens() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)

    play(scene, fail={"code": "internal", "probability": 0})


@pytest.mark.parametrize(("step", "reports"), [("command", 0), ("received", 1), ("installing", 4)])
def test_a_silent_device_beats_on_and_reports_no_more(step: str, reports: int) -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("silent"), 10)
        beats = fleet.record.totals["heartbeats"]
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= beats + 3, 10)
        assert len(server.bodies["status"]) == reports
        assert not any("packages" in body for body in server.bodies["heartbeat"][1:])

    play(scene, silent={"after": step})


def test_a_silent_install_shows_in_the_next_heartbeat() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("silent"), 10)
        await fleet.until(lambda _: "packages" in server.bodies["heartbeat"][-1], 10)
        assert "succeeded" not in server.statuses()
        packages = server.bodies["heartbeat"][-1]["packages"]
        assert {p["package"]: p["version_code"] for p in packages}["com.nexmdm"] == 121

    play(scene, silent={"after": "installing", "installs": True})


def test_a_dead_device_sends_no_heartbeat_until_it_is_back() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("silent"), 10)
        beats = fleet.record.totals["heartbeats"]
        await fleet.until(lambda f: f.record.totals["heartbeats"] > beats + 1, 10)

    play(scene, silent={"after": "received", "heartbeats": False, "for_sec": 0.2})


def test_a_liar_claims_another_version_and_its_inventory_stays_as_it_was() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(5), 10)
        claim = server.bodies["status"][-1]["installed_version"]
        assert claim == {"version_code": 99, "version_name": "1.0.121", "signer_sha256": "ee"}
        beats = fleet.record.totals["heartbeats"]
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= beats + 2, 10)
        assert not any("packages" in body for body in server.bodies["heartbeat"][1:])

    play(scene, lie={"version_code": 99, "signer_sha256": "ee"})


def test_every_report_comes_again_word_for_word() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(8), 10)
        bodies = server.bodies["status"]
        assert bodies[0] == bodies[1]
        assert bodies[6] == bodies[7]
        assert server.statuses()[::2] == ["received", "downloading", "installing", "succeeded"]

    play(scene, duplicate_reports=1, progress_reports=1)


def test_reports_out_of_order_begin_with_the_last() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(4), 10)
        assert server.statuses() == ["succeeded", "installing", "downloading", "received"]
        assert [body["seq"] for body in server.bodies["status"]] == [4, 3, 2, 1]

    play(scene, out_of_order=True, progress_reports=1)


def test_a_late_success_is_told_although_a_newer_attempt_has_begun() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)
        assert "succeeded" not in server.statuses()
        server.send(1, attempt=2)
        await fleet.until(lambda _: "succeeded" in server.statuses(), 10)
        late = next(body for body in server.bodies["status"] if body["status"] == "succeeded")
        assert late["attempt"] == 1

    play(scene, late={"sec": 0.3})


def test_an_agent_that_ignores_the_cancel_installs_all_the_same() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.cancel = True
        server.gone[1] = "canceled"
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)

    play(scene, ignore_cancel=True)


def test_a_skipping_agent_gives_its_reason() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(2), 10)
        assert server.bodies["status"][-1]["error_code"] == "device_condition"
        assert server.bodies["status"][-1]["error"] == "the till is open"

    play(scene, skip={"reason": "device_condition", "text": "the till is open"})


@pytest.mark.parametrize("step", ["downloading", "installing"])
def test_an_agent_that_restarts_on_the_way_beats_and_goes_on(step: str) -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)
        assert fleet.record.totals["restarts"] == 1

    play(scene, restart={"at": step, "down_sec": 0.1})


def test_a_failed_restart_intent_is_told_with_the_success() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(5), 10)
        assert server.bodies["status"][-1]["post_install"] == "failed"

    play(scene, post_install="failed")


def test_a_device_that_never_beats_only_enrols() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await fleet.until(lambda f: f.record.totals["enrolled"] == 1, 10)
        fleet.beat(fleet.specs[0].serial)
        assert server.seen["heartbeat"] == 0

    play(scene, never_heartbeats=True)


def test_an_offline_device_is_back_when_its_time_is_over() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= 1, 10)
        assert server.seen["enroll"] == 1

    play(scene, offline={"until_sec": 0.2})


def test_what_is_not_reported_is_left_out_of_the_heartbeat() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= 1, 10)
        assert not {"battery", "packages"} & server.bodies["heartbeat"][0].keys()
        assert server.bodies["heartbeat"][0]["network"] == "wifi"

    play(scene, unreported=["battery", "packages"])


def test_a_command_that_no_agent_can_read_is_a_problem_and_not_a_crash() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        nonsense = [{"action": "dance"}, 7, {"action": "deploy_apk"}]
        server.scripted["heartbeat"].append(Answer(200, {"commands": nonsense}))
        await fleet.until(lambda f: f.record.totals["problems"] == 3, 10)

    play(scene, interval_sec=0.05)


def test_a_device_vanishes_after_its_success() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(lambda _: "succeeded" in server.statuses(), 10)
        beats, gone = fleet.record.totals["heartbeats"], time.monotonic()
        await fleet.until(lambda f: f.record.totals["heartbeats"] > beats + 1, 10)
        assert time.monotonic() - gone > 20 * server.interval * 0.9

    play(scene, vanish={"for_sec": 1.0})


def test_a_slow_restart_is_told_in_the_same_report_once_more() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, post_install={"restart_intent": {"action": "a.B"}})
        await fleet.until(lambda _: server.statuses().count("succeeded") == 2, 10)
        first, second = server.bodies["status"][-2:]
        assert "post_install" not in first
        assert second["post_install"] == "ok"

    play(scene, restart_takes_sec=0.1)
