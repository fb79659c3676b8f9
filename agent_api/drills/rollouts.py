"""A bad version meets the canary, or the failure limit."""

from typing import Any

from agent_api.drills.ground import Ground
from agent_api.drills.operator import Red

# Reported after the download, and no other try would mend it.
BROKEN: dict[str, Any] = {"fail": {"code": "apk_invalid", "at": "installing"}}


def canary_failure(ground: Ground) -> None:
    """The canary fails, the deployment pauses itself, nobody else is sent to, and going back is offered."""
    operator, canary = ground.operator, 4
    # Five of eight fail, so a canary of four cannot get to 90 %, whoever is in it.
    with ground.devices(ground.specs(8, misfits=5, **BROKEN)) as ids:
        made = ground.deploy("bad", ids, canary=canary, canary_success_pct=90, concurrency=canary)
        seen = operator.until_status(made, "paused", "canary_failed")
        ground.until_all_beat_again("every device has asked for work again since")
        reasons = operator.deployment(made)["reasons"]
        broken = {row["reason"] for row in reasons} - {"paused"}
        operator.check("what failed is what the drill broke", broken == {"apk_invalid"}, reasons)
        got = ground.commands(made)
        operator.check(f"only the canary was sent to: {len(got)} of 8 devices", len(got) <= canary, got)
        operator.check("each was sent to once", set(got.values()) == {1}, got)
        operator.check("going back is offered, by a rebuild", _offers(seen, "rebuild"), seen["rollback"])
        operator.until("an alert is open", lambda: _alerts(ground, made))
        status, refused = operator.ask("POST", f"/v1/deployments/{made}/resume", {})
        operator.check("going on against the verdict wants a reason", status == 422, refused)


def failure_limit_rollback(ground: Ground) -> None:
    """The failure limit trips half-way, and a rollback reaches exactly the devices that got the bad version."""
    operator = ground.operator
    with ground.devices(ground.specs(10, misfits=4, **BROKEN)) as ids:
        _hold(ground, ids[-4:], "2100-01-01T00:00:00+00:00")
        made = ground.deploy("bad", ids, max_failures=2)
        operator.until("three devices have installed it", lambda: _succeeded(ground, made) >= 3)
        _hold(ground, ids[-4:], None)
        seen = operator.until_status(made, "paused", "failure_rate")
        operator.until("nobody is at work any more", lambda: _at_rest(ground, made))
        ground.until_all_beat_again("every device has told its inventory since")
        hit = {key for key, code in ground.installed().items() if code == ground.code + 1}
        operator.say(f"{len(hit)} of 10 devices have the bad version")
        operator.check("going back is offered, by a rebuild", _offers(seen, "rebuild"), seen["rollback"])
        _roll_back(ground, made, hit)


def _roll_back(ground: Ground, bad: int, hit: set[int]) -> None:
    operator, address = ground.operator, f"/v1/deployments/{bad}/rollback"
    back = int(
        operator.call("POST", address, {"reason": "Drill", "expected_status": "paused"})["deployment_id"]
    )
    ground.started.append(back)
    operator.say(f"rollback: deployment #{back}")
    status, refused = operator.ask("POST", address, {"reason": "Drill"})
    operator.check("a second press is refused with the state", status == 409, refused)
    operator.check("the bad deployment is canceled", refused["current_status"] == "canceled", refused)
    operator.until_status(back, "complete")
    got = set(ground.commands(back))
    operator.check(
        "the rollback reached exactly the devices that had the bad version", got == hit, (got, hit)
    )
    ground.until_all_beat_again("every device has told its inventory since")
    codes = ground.installed()
    right = {key: ground.code + 2 if key in hit else ground.code for key in codes}
    operator.check("those have the rebuild, all others are as they were", codes == right, codes)
    status, refused = operator.ask("POST", f"/v1/deployments/{bad}/resume", {"reason": "Drill"})
    operator.check("nothing brings the bad version back", status == 409, refused)


def _offers(seen: Any, kind: str) -> bool:
    return bool(seen["rollback"]["offered"]) and seen["rollback"]["kind"] == kind


def _hold(ground: Ground, device_ids: list[int], until: str | None) -> None:
    """So that some succeed before the first fails."""
    for device_id in device_ids:
        ground.operator.call("PATCH", f"/v1/devices/{device_id}", {"hold_until": until})


def _succeeded(ground: Ground, deployment_id: int) -> int:
    """Red where something else than the broken build has stopped it."""
    seen = ground.operator.deployment(deployment_id)
    if seen["status"] not in ("queued", "running"):
        raise Red(
            f"deployment #{deployment_id} is {seen['status']} before a device could fail: {seen['reasons']}"
        )
    return int(seen["counts"]["succeeded"])


def _at_rest(ground: Ground, deployment_id: int) -> bool:
    counts = ground.operator.deployment(deployment_id)["counts"]
    return not counts["sending"] + counts["installing"]


def _alerts(ground: Ground, deployment_id: int) -> list[Any]:
    items = ground.operator.call("GET", "/v1/alerts?state=open&page_size=500")["items"]
    return [item for item in items if item["deployment_id"] == deployment_id]
