import asyncio
import stat
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from agent_api.simulator import (
    INSTANT,
    PROFILES,
    Behaviour,
    FleetThread,
    SimulatedFleet,
    make_specs,
    peak_concurrency,
    peak_per_window,
)
from agent_api.simulator.identities import StateInUse
from agent_api.simulator.pacing import Backoff, jittered, retry_after, seeded, told_interval
from agent_api.simulator.record import Execution
from agent_api.simulator.tokens import NoToken, TokenBook
from agent_api.simulator.wire import server_problem
from tests.agent_api.simulator.stand_in import Answer, StandIn

QUICK = Behaviour(latency=INSTANT, download="head")


def test_ten_of_forty_devices_upgrade_and_nobody_else_is_touched() -> None:
    async def act() -> None:
        specs = make_specs(40, behaviour=QUICK)
        async with StandIn() as server, SimulatedFleet(server.url, "t", specs, starts_per_sec=500) as fleet:
            server.interval = 0.5
            await fleet.until(lambda f: f.record.totals["enrolled"] == 40, 30)
            chosen = {spec.serial for spec in specs[:10]}
            for serial in chosen:
                server.send(server.devices[serial])
            await fleet.until(lambda f: f.record.totals["succeeded"] == 10 and f.record.running == 0, 30)
            assert fleet.record.touched() == chosen
            assert 1 <= peak_concurrency(fleet.record.executions()) <= 10
            assert peak_per_window(fleet.record.arrivals()) == 10
            assert fleet.record.totals["crashes"] == 0

    asyncio.run(act())


def test_a_second_start_finds_the_same_devices_with_what_they_had_installed(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state.jsonl"

    async def act() -> None:
        specs = make_specs(3, behaviour=QUICK)
        async with StandIn() as server:
            async with SimulatedFleet(server.url, "t", specs, state=state) as fleet:
                await fleet.until(lambda f: f.record.totals["heartbeats"] >= 3, 10)
                server.send(1)
                await fleet.until(lambda f: f.record.totals["succeeded"] == 1, 10)
            assert stat.S_IMODE(state.stat().st_mode) == 0o600
            state.write_text(state.read_text() + '{"server": "half a li')
            async with SimulatedFleet(server.url, "t", specs, state=state) as fleet:
                await fleet.until(lambda f: f.record.totals["heartbeats"] >= 3, 10)
                assert fleet.record.totals["known"] == 3
            assert server.seen["enroll"] == 3
            again = [b["packages"] for b in server.bodies["heartbeat"] if "packages" in b][-3:]
            codes = [{p["package"]: p["version_code"] for p in packages}["com.nexmdm"] for packages in again]
            assert codes.count(121) == 1

    asyncio.run(act())


def test_a_token_is_never_sent_to_another_server(tmp_path: Path) -> None:
    async def act() -> None:
        specs = make_specs(1, behaviour=QUICK)
        keeping = partial(SimulatedFleet, token="t", specs=specs, state=tmp_path / "s")
        for _ in range(2):
            async with StandIn() as server, keeping(server.url) as fleet:
                await fleet.until(lambda f: f.record.totals["enrolled"] == 1, 10)

    asyncio.run(act())


def test_two_fleets_cannot_be_the_same_devices_at_once(tmp_path: Path) -> None:
    async def act() -> None:
        async with SimulatedFleet("http://127.0.0.1:9", "t", [], state=tmp_path / "s"):
            with pytest.raises(StateInUse, match="in use by another fleet"):
                SimulatedFleet("http://127.0.0.1:9", "t", [], state=tmp_path / "s")

    asyncio.run(act())


def test_each_shop_enrols_with_its_own_token_and_a_refused_one_is_asked_for_anew() -> None:
    fetched: list[int] = []

    def fetch() -> dict[str, str]:
        fetched.append(1)
        return {name: f"{name} token {len(fetched)}" for name in PROFILES}

    async def act() -> None:
        specs = make_specs(2, behaviour=QUICK)
        async with StandIn() as server, SimulatedFleet(server.url, fetch, specs) as fleet:
            await fleet.until(lambda f: f.record.totals["enrolled"] == 2, 10)
            tokens = sorted(body["enrollment_token"] for body in server.bodies["enroll"])
            assert tokens == ["shop-berlin-1 handheld token 1", "shop-berlin-2 kiosk token 1"]
        assert len(fetched) == 1

    asyncio.run(act())


def test_a_book_without_a_fitting_token_says_so() -> None:
    async def act() -> None:
        with pytest.raises(NoToken, match="'here'"):
            await TokenBook(lambda: {"there": "t"}).token_for("here")

    asyncio.run(act())


def test_the_fleet_waits_for_a_server_that_is_not_ready() -> None:
    async def act() -> None:
        async with StandIn() as server:
            server.scripted["healthz"] += [Answer(503), Answer(500)]
            async with SimulatedFleet(server.url, "t", make_specs(1, behaviour=QUICK)) as fleet:
                await fleet.until(lambda f: f.record.totals["heartbeats"] >= 1, 10)
            assert server.seen["healthz"] == 3

    asyncio.run(act())


def test_waiting_in_vain_tells_how_far_the_fleet_got() -> None:
    async def act() -> None:
        async with StandIn() as server, SimulatedFleet(server.url, "t", make_specs(1)) as fleet:
            with pytest.raises(TimeoutError, match="1 devices"):
                await fleet.until(lambda f: f.record.totals["succeeded"] == 1, 0.05)

    asyncio.run(act())


def test_a_fleet_in_a_thread_is_waited_for_from_outside() -> None:
    async def answer(ready: asyncio.Event, done: asyncio.Event, urls: list[str]) -> None:
        async with StandIn() as server:
            urls.append(server.url)
            ready.set()
            await done.wait()

    async def act() -> None:
        ready, done, urls = asyncio.Event(), asyncio.Event(), list[str]()
        serving = asyncio.create_task(answer(ready, done, urls))
        await ready.wait()
        await asyncio.to_thread(beat_twice, urls[0])
        done.set()
        await serving

    asyncio.run(act())


def beat_twice(url: str) -> None:
    with FleetThread(SimulatedFleet(url, "t", make_specs(1, behaviour=QUICK))) as fleet:
        fleet.until(lambda f: f.record.totals["heartbeats"] >= 2, 10)
        assert fleet.do(lambda f: f.record.totals["enrolled"]) == 1


def test_the_most_attempts_at_one_moment_are_counted() -> None:
    spans = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (3.5, None)]
    assert peak_concurrency([Execution(1, 1, start, end) for start, end in spans]) == 2
    assert peak_concurrency([]) == 0


def test_a_window_is_half_open() -> None:
    assert peak_per_window([0.0, 59.9, 60.0]) == 2
    assert peak_per_window([0.0, 60.0, 120.0]) == 1
    assert peak_per_window([]) == 0


def test_back_off_doubles_up_to_its_limit_and_obeys_what_it_is_told() -> None:
    backoff = Backoff(seeded("b"), first=1, most=4)
    waits = [backoff.after_failure() for _ in range(4)]
    assert all(step <= wait <= step * 1.1 for step, wait in zip((1, 2, 4, 4), waits, strict=True))
    assert 30 <= backoff.after_failure(told=30) <= 33
    backoff.succeeded()
    assert backoff.after_failure() <= 1.1


def test_jitter_stays_within_ten_percent() -> None:
    rng = seeded("j")
    drawn = [jittered(60, rng) for _ in range(1000)]
    assert 54 <= min(drawn) < 56
    assert 64 < max(drawn) <= 66


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="nothing said"),
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("999999", 3600.0, id="longer than an hour"),
        pytest.param("Tue, 01 Jan 2030 00:00:30 GMT", 30.0, id="a date"),
        pytest.param("Tue, 01 Jan 2020 00:00:00 GMT", 0.0, id="a date gone by"),
        pytest.param("soon", None, id="nonsense"),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2030, 1, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("told", "meant"), [(3, 3.0), (0.5, 0.5), (0, 60.0), (-1, 60.0), (True, 60.0), ("3", 60.0), (None, 60.0)]
)
def test_an_interval_that_makes_no_sense_means_a_minute(told: object, meant: float) -> None:
    assert told_interval(told) == meant


@pytest.mark.parametrize("server", ["127.0.0.1:8000", "ftp://a", "http://", "http://a:b", "http://a:99999"])
def test_what_is_no_address_of_a_server_is_refused(server: str) -> None:
    assert "is not the address of a server" in str(server_problem(server))


def test_an_address_of_a_server_is_taken() -> None:
    assert server_problem("https://mdm.example.com:8443") is None
