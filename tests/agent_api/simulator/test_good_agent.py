import pytest

from agent_api.simulator import SimulatedFleet
from agent_api.simulator.behaviour import Installed
from tests.agent_api.simulator.scenes import ended, play, reported, send_to_first
from tests.agent_api.simulator.stand_in import APK, SIGNER, Answer, StandIn


def test_an_agent_carries_a_command_out_step_by_step_and_tells_its_new_version() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(5), 10)
        assert server.statuses() == ["received", "downloading", "downloading", "installing", "succeeded"]
        last = server.bodies["status"][-1]
        assert last["installed_version"] == {
            "version_code": 121,
            "version_name": "1.0.121",
            "signer_sha256": SIGNER,
        }
        assert last["post_install"] == "ok"
        assert [body["seq"] for body in server.bodies["status"]] == [1, 2, 3, 4, 5]
        assert server.seen["confirm"] == 2
        beats = server.seen["heartbeat"]
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= beats + 2, 10)
        told = [body["packages"] for body in server.bodies["heartbeat"] if "packages" in body]
        assert [p["version_code"] for p in told[-1] if p["package"] == "com.nexmdm"] == [121]
        assert server.bodies["heartbeat"][-1]["agent_version"] == "1.0.121"

    play(scene)


def test_the_first_heartbeat_tells_the_inventory_and_the_next_ones_leave_it_out() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= 3, 10)
        assert ["packages" in body for body in server.bodies["heartbeat"][:3]] == [True, False, False]

    play(scene)


def test_the_token_goes_to_the_api_and_never_to_the_artifact_store() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)
        for _, path, headers in server.requests:
            secret = headers.get("authorization")
            if "/devices/" in path:
                assert secret == "Bearer secret-1"
            else:
                assert secret is None

    play(scene)


def test_a_broken_download_is_resumed_by_range_and_still_checked() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)
        ranges = [headers.get("range") for _, path, headers in server.requests if "artifacts" in path]
        assert ranges[0] is None
        assert len(ranges) == 3
        starts = [int(str(value).removeprefix("bytes=").rstrip("-")) for value in ranges[1:]]
        assert 0 < starts[0] < starts[1] < len(APK)

    play(scene, broken_downloads=2)


def test_the_head_of_a_file_is_enough_where_a_script_says_so() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)
        ranges = [headers.get("range") for _, path, headers in server.requests if "artifacts" in path]
        assert ranges == ["bytes=0-1023"]

    play(scene, download="head")


@pytest.mark.parametrize(
    ("apk", "code"),
    [
        pytest.param({"sha256": "00" * 32}, "checksum_mismatch", id="other content"),
        pytest.param({"size_bytes": len(APK) - 1}, "size_mismatch", id="one byte too many"),
        pytest.param({"size_bytes": len(APK) + 1}, "size_mismatch", id="one byte too few"),
    ],
)
def test_a_file_that_is_not_the_announced_one_is_refused(apk: dict[str, object], code: str) -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, apk=apk)
        await fleet.until(ended("failed"), 20)
        await fleet.until(lambda _: server.statuses()[-1] == "failed", 10)
        assert server.bodies["status"][-1]["error_code"] == code

    play(scene)


def test_an_expired_url_is_renewed_once_by_asking_for_the_command_again() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.scripted["artifact"].append(Answer(403))
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 10)
        assert server.seen["confirm"] == 3

    play(scene)


def test_another_signer_than_the_installed_one_is_refused() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(ended("failed"), 10)
        await fleet.until(lambda _: "failed" in server.statuses(), 10)
        assert server.bodies["status"][-1]["error_code"] == "signature_mismatch"

    mine = Installed(package="com.nexmdm", version_code=120, signer_sha256="cd" * 32)
    play(scene, packages=[mine])


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        pytest.param({"network": "cellular"}, "no_wifi", id="on mobile data"),
        pytest.param({"metered": True}, "metered_network", id="on metered Wi-Fi"),
        pytest.param({"battery": 39}, "battery_low", id="battery just below the limit"),
        pytest.param({"free_storage_mb": 199}, "low_storage", id="storage just below the limit"),
        pytest.param({"in_call": True}, "in_call", id="in a call"),
        pytest.param({"in_use": True}, "in_use", id="in use"),
    ],
)
def test_a_device_that_misses_a_condition_skips_with_its_reason(
    reading: dict[str, object], reason: str
) -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(2), 10)
        assert server.statuses() == ["received", "skipped"]
        assert server.bodies["status"][-1]["error_code"] == reason
        assert server.seen["artifact"] == 0

    play(scene, readings=reading)


@pytest.mark.parametrize(
    ("code", "reason"), [(120, "already_installed"), (119, "newer_installed")], ids=["same", "older"]
)
def test_a_version_that_is_not_newer_is_not_installed(code: int, reason: str) -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, code=code)
        await fleet.until(reported(2), 10)
        assert server.bodies["status"][-1]["error_code"] == reason

    play(scene, packages=[Installed(package="com.nexmdm", version_code=120)])


def test_without_device_owner_the_install_is_not_permitted() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(2), 10)
        assert server.bodies["status"][-1]["error_code"] == "not_permitted"

    play(scene, readings={"device_owner": False})


def test_a_closed_window_is_told_and_nothing_is_downloaded() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet, window_open=False)
        server.scripted["confirm"].append(Answer(200, server.commands[1] | {"window_open": False}))
        await fleet.until(reported(1), 10)
        assert server.bodies["status"][0]["error_code"] == "outside_window"
        assert server.seen["artifact"] == 0

    play(scene)


def test_an_agent_that_is_told_to_stop_asks_why_and_stops_before_the_commit() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        server.cancel = True
        server.scripted["confirm"] += [
            Answer(200, server.commands[1] | {"window_open": True}),
            Answer(410, {"status": "skipped", "reason": "kill_switch"}),
        ]
        await fleet.until(reported(2), 10)
        assert server.statuses() == ["received", "skipped"]
        assert server.bodies["status"][-1]["error_code"] == "kill_switch"

    play(scene)


def test_a_report_that_is_refused_because_all_is_settled_ends_the_work() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.scripted["status"].append(Answer(409, {"status": "canceled", "final": True}))
        await send_to_first(server, fleet)
        await fleet.until(ended("settled"), 10)
        assert server.statuses() == ["received"]

    play(scene)


def test_the_same_command_again_is_not_carried_out_twice() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(reported(5), 10)
        server.send(1)
        await fleet.until(lambda _: server.statuses().count("succeeded") >= 2, 10)
        assert server.statuses().count("installing") == 1
        assert fleet.record.totals["started"] == 1

    play(scene)


def test_an_attempt_that_was_called_over_and_is_handed_out_again_is_begun_anew() -> None:
    """A server restored from a backup does not know it, and then sends it."""

    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.scripted["status"].append(Answer(409, {"status": "queued", "final": False}))
        await send_to_first(server, fleet)
        await fleet.until(lambda _: "succeeded" in server.statuses(), 10)
        assert [e.outcome for e in fleet.record.executions()] == ["settled", "succeeded"]

    play(scene)


def test_a_newer_attempt_takes_the_place_of_one_that_is_under_way() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await send_to_first(server, fleet)
        await fleet.until(lambda f: f.record.totals["started"] == 1, 10)
        server.send(1, attempt=2)
        await fleet.until(ended("settled"), 10)
        assert {e.attempt: e.outcome for e in fleet.record.executions()}[1] == "settled"

    nothing = {"min_sec": 0, "max_sec": 0}
    slow_start = {"min_sec": 0.3, "max_sec": 0.3}
    play(scene, latency={"start": slow_start, "download": nothing, "install": nothing})


def test_reports_are_sent_again_until_the_server_takes_them_and_wait_as_told() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.scripted["status"] += [Answer(503, {}, {"Retry-After": "0"}), Answer(500)]
        await send_to_first(server, fleet)
        await fleet.until(ended("succeeded"), 20)
        assert server.statuses()[:3] == ["received"] * 3
        assert {body["seq"] for body in server.bodies["status"][:3]} == {1}

    play(scene)


def test_a_heartbeat_that_is_put_off_waits_as_long_as_told() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.scripted["heartbeat"].append(Answer(503, {}, {"Retry-After": "3600"}))
        await fleet.until(lambda f: f.record.totals["heartbeats_failed"] == 1, 10)
        fleet.beat(fleet.specs[0].serial)
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= 2, 10)
        assert server.seen["heartbeat"] >= 3

    play(scene)


def test_a_device_that_the_server_does_not_know_enrols_again() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= 1, 10)
        server.scripted["heartbeat"].append(Answer(401))
        await fleet.until(lambda f: f.record.totals["enrolled"] == 2, 10)
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= 3, 10)
        again = server.bodies["enroll"][1]
        assert again["serial"] == server.bodies["enroll"][0]["serial"]
        assert again["packages"]

    play(scene)


def test_a_push_starts_the_work_without_a_heartbeat_and_ids_alone_are_enough() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        await fleet.until(lambda f: f.record.totals["heartbeats"] >= 1, 10)
        token = server.bodies["enroll"][0]["fcm_token"]
        server.send(1)
        ids = {"action": "deploy_apk", "deployment_id": "7", "device_id": "1", "attempt": "1"}
        assert fleet.deliver_push(token, ids)
        assert not fleet.deliver_push("of nobody", ids)
        await fleet.until(ended("succeeded"), 10)

    play(scene, push=True, interval_sec=3600)


def test_a_retired_device_does_not_enrol_again_even_when_its_token_is_gone() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.scripted["heartbeat"] += [Answer(403), Answer(401)]
        await fleet.until(lambda f: f.record.totals["heartbeats_failed"] == 1, 10)
        fleet.beat(fleet.specs[0].serial)
        await fleet.until(lambda f: f.record.totals["heartbeats_failed"] == 2, 10)
        fleet.beat(fleet.specs[0].serial)
        await fleet.until(lambda f: f.record.totals["heartbeats"] == 1, 10)
        assert server.seen["enroll"] == 1

    play(scene)


def test_a_device_whose_serial_is_taken_says_why_and_does_not_insist() -> None:
    async def scene(server: StandIn, fleet: SimulatedFleet) -> None:
        server.scripted["enroll"].append(Answer(409, {"detail": "The serial is taken."}))
        await fleet.until(lambda f: f.record.totals["problems"] == 1, 10)
        assert "The serial is taken." in fleet.record.problems[0]
        assert server.seen["enroll"] == 1

    play(scene)
