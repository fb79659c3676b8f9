"""The day it goes wrong, over HTTP: a started product, simulated devices, an operator with a token, a mail server and
a webhook's far end. Each story has devices of its own; together they share one instance."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from mdm.watch import webhook
from tests.concurrency import ledger
from tests.concurrency.product import Product, answered, on_air
from tests.mdm.instance import eventually
from tests.watch import far_ends

APP, AGENT = "com.example.speedtest", "com.nexmdm"
EACH, STORIES = 6, 8
PATIENCE_SEC = 60.0
EASY: dict[str, Any] = {"canary": 0, "rate": 1000, "concurrency": 50, "retry": {"max": 0, "backoff_sec": 1}}
SECRET = "shared"
BROKEN = {"fail": {"code": "apk_invalid", "at": "installing"}}


@dataclass
class Told:
    """What alerts have said, by mail and by webhook."""

    mails: list[Any]
    calls: list[tuple[str, dict[str, str], bytes]]

    def of(self, alert: int) -> tuple[list[str], list[str]]:
        """Subjects of the mails and events of the calls about it, in order."""
        about = f"/admin/watch/alert/{alert}/change/"
        subjects = [mail["Subject"] for mail in self.mails if about in mail.get_payload().replace("=\n", "")]
        said = [json.loads(body) for _, _, body in self.calls]
        return subjects, [it["event"] for it in said if it["alert"]["id"] == alert]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Told]]:
    port = far_ends.free_port()
    with far_ends.smtp(port) as mails, far_ends.receiver() as there:
        environment = {
            "APPROVAL_ABOVE": str(EACH),
            "EMAIL_URL": f"smtp://127.0.0.1:{port}",
            "ALERT_EMAILS": "ops@example.com",
            "ALERT_WEBHOOK_URL": there.url,
            "ALERT_WEBHOOK_SECRET": SECRET,
        }
        folder = tmp_path_factory.mktemp("safety") / "var"
        with on_air(folder, EACH * STORIES, **environment) as product:
            product.upload(APP, 40)  # what they all have
            yield product, Told(mails, there.received)


@pytest.fixture
def product(stage: tuple[Product, Told]) -> Product:
    return stage[0]


@pytest.fixture
def told(stage: tuple[Product, Told]) -> Told:
    return stage[1]


def _own(product: Product, story: int) -> list[int]:
    return product.device_ids()[story * EACH : (story + 1) * EACH]


def _deploy(product: Product, version: int, ids: list[int], **options: Any) -> int:
    return product.deploy(version, {"type": "selection", "device_ids": ids}, **EASY | options)


def _refused(product: Product, path: str, body: Any, status: int) -> dict[str, Any]:
    answer = product.api.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    found: dict[str, Any] = answer.json()
    return found


def _tasks(product: Product, deployment: int) -> dict[int, dict[str, Any]]:
    page = product.call("GET", f"/v1/deployments/{deployment}/tasks?page_size=500")
    return {int(task["device_id"]): task for task in page["items"]}


def _stopped_by_its_canary(product: Product, version: int, ids: list[int], **options: Any) -> int:
    """Four of six are the canary, and at most two of these can install it."""
    product.behave(ids[:4], **BROKEN)
    deployment = _deploy(product, version, ids, canary=4, allow_rollback=True, **options)
    seen = product.ends(deployment, PATIENCE_SEC)
    assert (seen["status"], seen["paused_reason"]) == ("paused", "canary_failed")
    return deployment


def test_a_bad_version_is_taken_back_by_a_reinstall_once_the_data_loss_is_accepted(product: Product) -> None:
    ids = _own(product, 0)
    bad = _stopped_by_its_canary(product, product.upload(APP, 51), ids)
    offer = product.call("GET", f"/v1/deployments/{bad}")["rollback"]
    assert (offer["kind"], offer["offered"]) == ("reinstall", True)
    door, consent = f"/v1/deployments/{bad}/rollback", {"accept_data_loss": True, "confirm_version": "1.0.40"}
    _refused(product, door, {}, 422)
    _refused(product, door, consent | {"confirm_version": "1.0.51"}, 422)
    _refused(product, door, consent | {"expected_status": "running"}, 409)
    assert product.call("GET", f"/v1/deployments/{bad}")["status"] == "paused", "nothing half-done"
    sent = {send.device for send in product.sends(bad)}
    product.behave(ids)
    back = product.call("POST", door, consent)["deployment_id"]
    again = _refused(product, door, consent, 409)
    assert str(back) in again["detail"]
    seen = product.ends(back, PATIENCE_SEC)
    assert (seen["status"], seen["to_version"]["version_code"]) == ("complete", 40)
    assert set(_tasks(product, back)) == sent < set(ids)
    assert product.versions(ids, APP) == {40}
    first = product.call("GET", f"/v1/deployments/{bad}")
    assert first["status"] == "canceled"
    assert _refused(product, "/v1/deployments", _asked(first, ids), 409)["type"] == "version_withdrawn"


def _asked(deployment: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    """The same once more."""
    target = {"type": "selection", "device_ids": ids}
    return {"apk_version_id": deployment["to_version"]["id"], "target": target, "options": EASY}


def test_the_agents_own_package_has_no_way_back_without_a_rebuild_and_has_one_with_it(
    product: Product,
) -> None:
    ids = _own(product, 1)
    good = product.upload(AGENT, 120)
    bad = _stopped_by_its_canary(product, product.upload(AGENT, 131), ids)
    door = f"/v1/deployments/{bad}/rollback"
    refusal = _refused(product, door, {"accept_data_loss": True, "confirm_version": "1.0.120"}, 409)
    assert "rebuild" in json.dumps(refusal)
    assert product.call("GET", f"/v1/deployments/{bad}")["status"] == "paused"
    rebuild = product.upload(AGENT, 132, rebuild_of=str(good))
    product.behave(ids)
    back = product.call("POST", door)["deployment_id"]
    seen = product.ends(back, PATIENCE_SEC)
    assert (seen["status"], seen["to_version"]["id"]) == ("complete", rebuild)
    assert set(_tasks(product, back)) == {send.device for send in product.sends(bad)}


def test_who_failed_is_tried_again_in_a_linked_deployment(product: Product) -> None:
    ids = _own(product, 2)
    product.behave(ids[:2], **BROKEN)
    first = _deploy(product, product.upload(APP, 52), ids, failure_pct=100)
    assert product.ends(first, PATIENCE_SEC)["counts"]["failed"] == 2
    product.behave(ids)
    second = product.call("POST", f"/v1/deployments/{first}/retry")["deployment_id"]
    seen = product.ends(second, PATIENCE_SEC)
    assert (seen["status"], seen["counts"]["succeeded"], seen["retry_of"]) == ("complete", 2, first)
    assert set(_tasks(product, second)) == set(ids[:2])
    _refused(product, f"/v1/deployments/{first}/retry", {}, 409)


def test_a_withdrawn_version_reaches_nobody_any_more(product: Product) -> None:
    ids = _own(product, 3)
    version = product.upload(APP, 53)
    product.behave(ids, latency={"start": {"min_sec": 3.0, "max_sec": 3.0}})
    deployment = _deploy(product, version, ids, concurrency=2)
    eventually(lambda: _beaten(product, deployment), "nobody was sent to", within=PATIENCE_SEC)
    _refused(product, f"/v1/apks/versions/{version}/withdraw", {"reason": ""}, 422)
    product.call("POST", f"/v1/apks/versions/{version}/withdraw", {"reason": "freezes tills"})
    seen = product.call("GET", f"/v1/deployments/{deployment}")
    assert (seen["status"], seen["paused_reason"]) == ("paused", "version_withdrawn")
    sent = len(product.sends(deployment))
    assert _refused(product, f"/v1/deployments/{deployment}/resume", {}, 409)["current_status"] == "paused"
    eventually(
        lambda: _told_to_stop(product, deployment), "an agent was to be told to stop", within=PATIENCE_SEC
    )
    product._some_beat(deployment, EACH)
    assert len(product.sends(deployment)) == sent
    product.call("POST", f"/v1/deployments/{deployment}/cancel")
    assert product.versions(ids, APP) == {40}
    assert product.call("GET", f"/v1/deployments/{deployment}")["counts"]["succeeded"] == 0


def _beaten(product: Product, deployment: int) -> bool:
    product._some_beat(deployment, 2)
    return len(product.sends(deployment)) >= 1


def _told_to_stop(product: Product, deployment: int) -> bool:
    """Whoever was sent to has asked, heard why not, and let go of it."""
    counts = product.call("GET", f"/v1/deployments/{deployment}")["counts"]
    return (counts["sending"], counts["installing"]) == (0, 0)


def test_an_app_that_does_not_come_up_is_a_failure_and_stops_the_rollout(product: Product) -> None:
    ids = _own(product, 4)
    product.behave(ids, post_install="failed")
    intent = {"restart_intent": {"action": "com.example.RESTART", "extras": {}}}
    deployment = _deploy(
        product, product.upload(APP, 54), ids, canary=2, health_within_min=0.05, post_install=intent
    )
    seen = product.ends(deployment, PATIENCE_SEC)
    assert (seen["status"], seen["paused_reason"]) == ("paused", "canary_failed")
    ends = {task["error_code"] for task in _tasks(product, deployment).values() if task["status"] == "failed"}
    assert ends == {"not_healthy"}
    assert len(product.sends(deployment)) == 2, "files were copied there, and nobody else got one"
    product.call("POST", f"/v1/deployments/{deployment}/cancel")


def test_never_more_devices_of_one_shop_than_wanted_are_at_work_over_two_deployments(
    product: Product,
) -> None:
    ids = _own(product, 5)
    shop = f"shop-of-{ids[0]}"
    for device in ids:
        product.call("PATCH", f"/v1/devices/{device}", {"groups": [shop]})
    limits = {"max_per_group": 2, "spread_groups": "shop-of-*"}
    pair = [
        _deploy(product, product.upload(APP, 55), ids[:3], **limits),
        _deploy(product, product.upload(AGENT, 135), ids[3:], **limits),
    ]
    for deployment in pair:
        assert product.ends(deployment, PATIENCE_SEC)["counts"]["succeeded"] == 3
    sends = [send for deployment in pair for send in product.sends(deployment)]
    assert ledger.most_at_once(sends) <= 2


def test_a_large_deployment_waits_until_another_person_approves_it(product: Product) -> None:
    ids = [*_own(product, 6), *_own(product, 7)[:1]]
    deployment = _deploy(product, product.upload(APP, 56), ids)
    door = f"/v1/deployments/{deployment}/approve"
    eventually(
        lambda: product.call("GET", f"/v1/deployments/{deployment}")["needs_approval"], "it was to wait"
    )
    assert _refused(product, door, {}, 403)["type"].endswith("own_deployment")
    product._some_beat(deployment, EACH)
    assert product.sends(deployment) == []
    with _somebody_else(product) as other:
        stale = other.post(door, json={"expected_status": "running"})
        assert (stale.status_code, stale.json()["current_status"]) == (409, "queued")
        assert answered(other.post(door, json={"reason": "seen"}))["approved_by"] == "second"
    seen = product.ends(deployment, PATIENCE_SEC)
    assert (seen["status"], seen["counts"]["succeeded"]) == ("complete", EACH + 1)


def _somebody_else(product: Product) -> httpx.Client:
    made = product.instance.manage(
        "createsuperuser", "--noinput", "--username=second", "--email=", DJANGO_SUPERUSER_PASSWORD="x" * 20
    )
    assert made.returncode == 0, made.stderr
    token = product.instance.manage("api_token", "second").stdout.strip()
    return httpx.Client(
        base_url=product.api.base_url, headers={"Authorization": f"Bearer {token}"}, timeout=60
    )


def test_an_alert_is_mailed_and_called_once_acknowledged_and_resolved(product: Product, told: Told) -> None:
    ids = _own(product, 7)
    deployment = _stopped_by_its_canary(product, product.upload(APP, 57), ids)

    eventually(lambda: _alerts(product, deployment), "it was to be raised", within=PATIENCE_SEC)
    (alert,) = _alerts(product, deployment)
    opened, resolved = (f"[NexMDM] {word}: Canary failed" for word in ("Alert", "Resolved"))
    eventually(
        lambda: told.of(alert) == ([opened], ["alert.opened"]),
        "mail and call were to come",
        within=PATIENCE_SEC,
    )
    door = f"/v1/alerts/{alert}/acknowledge"
    seen = product.call("POST", door)
    assert (seen["state"], seen["acknowledged_by"]) == ("acknowledged", "admin")
    assert product.call("POST", door)["acknowledged_at"] == seen["acknowledged_at"]
    product.call("POST", f"/v1/deployments/{deployment}/cancel")
    both = ([opened, resolved], ["alert.opened", "alert.resolved"])
    eventually(lambda: told.of(alert) == both, "the resolution was to be told", within=PATIENCE_SEC)
    assert _refused(product, door, {}, 409)["current_state"] == "resolved"
    for _, headers, body in told.calls:
        stamp = headers["x-nexmdm-timestamp"]
        assert headers["x-nexmdm-signature"] == f"sha256={webhook.signature(SECRET, stamp, body)}"


def _alerts(product: Product, deployment: int) -> list[int]:
    items = product.call("GET", "/v1/alerts")["items"]
    return [it["id"] for it in items if (it["deployment_id"], it["kind"]) == (deployment, "canary_failed")]


def test_the_log_proves_every_status(product: Product) -> None:
    verified = product.instance.manage("verify_audit", "--all")
    assert verified.returncode == 0, verified.stdout + verified.stderr
