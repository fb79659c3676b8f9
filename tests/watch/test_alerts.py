"""An alert's life: raised by one of many rounds, acknowledged by a person, on every page until then."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from mdm.models import AuditEvent
from mdm.problems import Conflict
from mdm.watch import alerts, rounds
from mdm.watch.alerts import Cause
from mdm.watch.models import Alert
from tests.calls import as_user
from tests.deployments import scene
from tests.deployments.crowd import at_once
from tests.deployments.pages import signed_in
from tests.factories import actor, member

CAUSE = Cause("worker_silent", "worker-1@host:1", "worker-1@host:1 has not been heard of for more than 30 s.")


@pytest.mark.django_db(transaction=True)
def test_of_many_rounds_at_once_one_raises() -> None:
    raised = at_once(*[lambda: alerts.raise_once(CAUSE)] * 6)
    assert len([pk for pk in raised if pk is not None]) == 1
    assert Alert.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_people_who_acknowledge_at_once_are_both_content_and_the_first_is_named() -> None:
    pk = alerts.raise_once(CAUSE) or 0
    people = [actor("operator"), actor("operator")]
    found = at_once(*[lambda who=who: alerts.acknowledge(who, pk) for who in people])
    names = {alert.acknowledged_by_id for alert in found}
    assert len(names) == 1
    assert AuditEvent.objects.filter(action="alert.acknowledge").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_round_that_finds_another_at_work_does_nothing() -> None:
    deployment = scene.start(scene.devices(1))
    deployment.__class__.objects.update(
        status="paused", paused_reason="canary_failed", paused_at=timezone.now()
    )
    with rounds.transaction.atomic():
        assert rounds.mine(rounds.WATCH_LOCK)
        at_once(rounds.watch)
        assert not Alert.objects.exists()
    rounds.watch()
    assert Alert.objects.count() == 1


@pytest.mark.django_db
def test_an_acknowledged_alert_is_not_raised_again_and_resolves_with_its_cause() -> None:
    pk = alerts.raise_once(CAUSE) or 0
    alerts.acknowledge(actor("operator"), pk)
    assert alerts.raise_once(CAUSE) is None
    now = timezone.now()
    alerts.settle([CAUSE], now)
    assert Alert.objects.get().state == "acknowledged"
    alerts.settle([], now)
    alerts.settle([], now + timedelta(seconds=11))
    assert Alert.objects.get().state == "resolved"
    with pytest.raises(Conflict):
        alerts.acknowledge(actor("operator"), pk)
    assert alerts.raise_once(CAUSE) is not None


@pytest.mark.django_db
def test_a_cause_that_comes_and_goes_is_one_alert() -> None:
    now = timezone.now()
    for second in range(0, 60, 4):
        alerts.settle([CAUSE] if second % 8 == 0 else [], now + timedelta(seconds=second))
    assert Alert.objects.count() == 1
    assert Alert.objects.get().state == "open"


@pytest.mark.django_db
def test_the_list_of_the_api_is_filtered_by_state_and_shaped_as_documented() -> None:
    pk = alerts.raise_once(CAUSE)
    alerts.raise_once(Cause("queue_backlog", "queue", "Late."))
    call = as_user(member("operator"))
    reply = call("GET", "/v1/alerts")
    assert (reply.status, reply.body["count"]) == (200, 2)
    assert set(reply.body["items"][0]) == {
        "id", "kind", "state", "deployment_id", "message", "opened_at", "acknowledged_by", "acknowledged_at",
        "resolved_at",
    }  # fmt: skip
    assert call("POST", f"/v1/alerts/{pk}/acknowledge").status == 200
    again = call("POST", f"/v1/alerts/{pk}/acknowledge")
    assert (again.status, again.body["state"]) == (200, "acknowledged")
    kinds = {
        state: [i["kind"] for i in call("GET", f"/v1/alerts?state={state}").body["items"]] for state in STATES
    }
    assert kinds == {"open": ["queue_backlog"], "acknowledged": ["worker_silent"], "resolved": []}


STATES = ("open", "acknowledged", "resolved")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("group", "path", "status"),
    [
        ("viewer", "/v1/alerts/{pk}/acknowledge", 403),
        ("operator", "/v1/alerts/999999/acknowledge", 404),
        ("operator", "/v1/alerts/x/acknowledge", 404),
        ("operator", "/v1/alerts/{pk}/acknowledge", 200),
    ],
)
def test_who_may_acknowledge_what(group: str, path: str, status: int) -> None:
    pk = alerts.raise_once(CAUSE)
    assert as_user(member(group))("POST", path.format(pk=pk)).status == status


@pytest.mark.django_db
def test_a_state_that_is_none_is_refused_and_a_resolved_alert_is_not_acknowledged() -> None:
    pk = alerts.raise_once(CAUSE)
    Alert.objects.update(state="resolved", resolved_at=timezone.now())
    call = as_user(member("operator"))
    assert call("GET", "/v1/alerts?state=gone").status == 422
    reply = call("POST", f"/v1/alerts/{pk}/acknowledge")
    assert (reply.status, reply.body["current_state"]) == (409, "resolved")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "page", ["/admin/", "/admin/devices/device/", "/admin/deployments/fleetswitch/", "/admin/x/"]
)
def test_every_page_says_what_is_open(page: str) -> None:
    client = signed_in("viewer")
    assert "nx-alerts" not in client.get(page).content.decode()
    alerts.raise_once(CAUSE)
    shown = client.get(page).content.decode()
    if page != "/admin/x/":
        assert "A worker is silent.</strong> worker-1@host:1 has not been heard of" in shown
    else:
        assert client.get(page).status_code == 404


@pytest.mark.django_db
def test_the_banner_names_three_and_says_that_there_are_more(client: Client) -> None:
    for number in range(4):
        alerts.raise_once(Cause("worker_silent", f"w{number}", f"w{number} <b>is</b> silent."))
    shown = signed_in("viewer").get("/admin/").content.decode()
    assert "w3 &lt;b&gt;is" in shown
    assert "w0 " not in shown
    assert "More open alerts" in shown
    assert "nx-alerts" not in signed_in().get("/admin/").content.decode(), "who may not see alerts sees none"
    assert client.get("/admin/login/").status_code == 200


@pytest.mark.django_db
def test_an_alert_is_acknowledged_on_a_page_of_its_own() -> None:
    pk = alerts.raise_once(CAUSE)
    operator = signed_in("operator")
    assert "Acknowledge…" in operator.get("/admin/watch/alert/").content.decode()
    page = operator.get(f"/admin/watch/alert/{pk}/acknowledge/")
    assert CAUSE.message in page.content.decode()
    assert operator.post(f"/admin/watch/alert/{pk}/acknowledge/").status_code == 302
    alert = Alert.objects.get()
    assert (alert.state, alert.acknowledged_by) == ("acknowledged", User.objects.get(username="operator"))
    assert "nx-alerts" not in operator.get("/admin/").content.decode()
    viewer = signed_in("viewer")
    assert viewer.get(f"/admin/watch/alert/{pk}/acknowledge/").status_code == 403
    assert "Acknowledge…" not in viewer.get("/admin/watch/alert/").content.decode()
