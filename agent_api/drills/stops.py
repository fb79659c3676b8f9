"""Everything is stopped at once, or everybody who works in the background is gone."""

import os
from pathlib import Path
from typing import Any, Final

import psutil
from django.conf import settings

from agent_api.drills.ground import Ground
from agent_api.drills.operator import Red
from agent_api.simulator import peak_concurrency

CONCURRENCY: Final = 2
# What tells this instance's processes from another's of the same checkout.
_SAME: Final = ("DATA_DIR", "DATABASE_URL", "ENV_FILE", "PORT")
_SLOW: Final[dict[str, Any]] = {
    "latency": {
        "start": {"min_sec": 0.0, "max_sec": 0.1},
        "download": {"min_sec": 1.0, "max_sec": 1.5},
        "install": {"min_sec": 0.5, "max_sec": 1.0},
    }
}


def kill_switch(ground: Ground) -> None:
    """Nothing is sent from the answer on, who asks is told to stop, and after the release all goes on."""
    operator = ground.operator
    _nobody_else_is_stopped(ground)
    with ground.devices(ground.specs(8, misfits=8, **_SLOW)) as ids:
        made = ground.deploy("bad", ids, concurrency=CONCURRENCY)
        operator.until("devices are at work", lambda: _at_work(ground, made))
        operator.call("PUT", "/v1/fleet-switch", {"kill_switch": True, "reason": "Drill"})
        try:
            _stands_still(ground, made, ids)
        finally:
            operator.call("PUT", "/v1/fleet-switch", {"kill_switch": False, "reason": "The drill is over"})
        seen = operator.deployment(made)
        operator.check(
            "released, it stays paused until a person resumes it", seen["status"] == "paused", seen
        )
        operator.call("POST", f"/v1/deployments/{made}/resume", {"reason": "Drill"})
        seen = operator.until_status(made, "complete")
        operator.check("all 8 devices succeeded", seen["counts"]["succeeded"] == 8, seen["counts"])


def _nobody_else_is_stopped(ground: Ground) -> None:
    """The switch stops every deployment there is, so the drill is for a quiet hour."""
    live = [
        item["id"]
        for status in ("queued", "running")
        for item in ground.operator.call("GET", f"/v1/deployments?status={status}")["items"]
    ]
    ground.operator.check("no other deployment would be stopped", not live, f"live: {live}")


def _at_work(ground: Ground, deployment_id: int) -> bool:
    counts = ground.operator.deployment(deployment_id)["counts"]
    return bool(counts["sending"] + counts["installing"])


def _stands_still(ground: Ground, made: int, ids: list[int]) -> None:
    operator = ground.operator
    sent = _attempts(ground, made)
    operator.say(f"the kill switch is on; {sent} sends so far")
    seen = operator.deployment(made)
    stopped = (seen["status"], seen["paused_reason"]) == ("paused", "kill_switch")
    operator.check("the deployment is paused by it", stopped, seen["status"])
    ground.until_all_beat_again("every device has asked for work again since")
    operator.check("nothing was sent since", _attempts(ground, made) == sent, _attempts(ground, made))
    target = {"type": "selection", "device_ids": ids}
    one_more = {"apk_version_id": ground.versions["rebuild"], "target": target}
    status, refused = operator.ask("POST", "/v1/deployments", one_more)
    operator.check("nothing can be started", status == 409, refused)


def _attempts(ground: Ground, deployment_id: int) -> int:
    items = ground.operator.call("GET", f"/v1/deployments/{deployment_id}/tasks?page_size=500")["items"]
    return sum(item["attempt"] for item in items)


def lost_workers(ground: Ground) -> None:
    """All workers are killed half-way; devices go on being served within the limits, and the workers come back."""
    operator = ground.operator
    with ground.devices(ground.specs(12, misfits=12, **_SLOW)) as ids:
        made = ground.deploy("bad", ids, concurrency=CONCURRENCY)
        operator.until("devices are at work", lambda: _at_work(ground, made))
        killed = _kill_workers()
        operator.say(f"killed with SIGKILL: {len(killed)} processes of workers ({_listed(killed)})")
        sent = _attempts(ground, made)
        operator.until("devices still get commands", lambda: _attempts(ground, made) > sent)
        fresh = operator.until("workers were started again", lambda: _workers() - killed)
        operator.say(f"workers now: {_listed(fresh)}")
        seen = operator.until_status(made, "complete")
        _nothing_was_doubled(ground, made, seen)


def _nothing_was_doubled(ground: Ground, made: int, seen: Any) -> None:
    operator, got = ground.operator, ground.commands(made)
    operator.check("all 12 devices succeeded", seen["counts"]["succeeded"] == 12, seen["counts"])
    operator.check("each was handed exactly one command", list(got.values()) == [1] * 12, got)
    runs = ground.fleet.do(
        lambda fleet: fleet.record.executions(lambda execution: execution.deployment_id == made)
    )
    peak = peak_concurrency(runs)
    operator.check(f"never more than {CONCURRENCY} at work at once", peak <= CONCURRENCY, peak)


def _kill_workers() -> set[int]:
    """Every process of every worker of this instance on this host. Red where there is none."""
    found = _workers()
    if not found:
        raise Red("no worker of this instance runs on this host; run the drill where they do")
    for pid in found:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            continue  # it went with its parent
    return found


def _workers() -> set[int]:
    return {process.pid for process in psutil.process_iter() if _is_worker(process)}


def _is_worker(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
        if "qcluster" not in words or str(Path(settings.BASE_DIR) / "manage.py") not in words:
            return False
        theirs = process.environ()
        return process.status() != psutil.STATUS_ZOMBIE and all(
            theirs.get(name, "") == os.environ.get(name, "") for name in _SAME
        )
    except psutil.Error:
        return False


def _listed(pids: set[int]) -> str:
    return ", ".join(str(pid) for pid in sorted(pids))
