"""Alerts on their way out: kept until they are taken, signed, in order, and never longer than they may take."""

import ipaddress
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from urllib3.exceptions import HTTPError

from mdm import audit
from mdm.environment import checked_webhook, networks
from mdm.people import SYSTEM
from mdm.watch import alerts, courier, deliveries, mail, public_address, rounds, seal_head, sealing, webhook
from mdm.watch.alerts import Cause
from mdm.watch.models import Alert, AlertDelivery
from tests.deployments.pages import signed_in
from tests.watch import far_ends
from tests.watch.far_ends import DRIP, HANG

pytestmark = pytest.mark.django_db

CAUSE = Cause("worker_silent", "worker-1@host:1", "worker-1@host:1 has not been heard of for more than 30 s.")
SECRET = "shared"
LOOPBACK = networks("X", ["127.0.0.0/8"])


@pytest.fixture(autouse=True)
def nothing_set_up(settings: Any, tmp_path: Path) -> None:
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = [], ""
    settings.ALERT_WEBHOOK_SECRET, settings.ALERT_WEBHOOK_NETWORKS = SECRET, LOOPBACK
    settings.DATA_DIR = tmp_path


def _mails_to(settings: Any, port: int) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = (
        "mdm.watch.mail.BoundedSmtp",
        "127.0.0.1",
        port,
    )
    settings.EMAIL_TIMEOUT = 5
    settings.ALERT_EMAILS = ["ops@example.com", "lead@example.com"]


def _row(event: str = "opened") -> AlertDelivery:
    return AlertDelivery.objects.get(event=event)


def _now_due() -> None:
    AlertDelivery.objects.update(next_try_at=timezone.now())


def test_where_nothing_is_set_up_nothing_is_kept_to_be_sent() -> None:
    alerts.raise_once(CAUSE)
    assert not AlertDelivery.objects.exists()


def test_a_raised_alert_goes_out_by_mail_with_the_head_of_the_audit_log(settings: Any) -> None:
    port = far_ends.free_port()
    _mails_to(settings, port)
    audit.record(SYSTEM, "note", "nothing", "something to seal")
    sealing.seal()
    pk = alerts.raise_once(CAUSE)
    with far_ends.smtp(port) as inbox:
        assert deliveries.deliver("email") == 1
    (message,) = inbox
    assert message["Subject"] == "[NexMDM] Alert: A worker is silent"
    assert message["X-RcptTo"] == "ops@example.com, lead@example.com"
    text = message.get_payload()
    assert CAUSE.message in text
    assert f"/admin/watch/alert/{pk}/change/" in text
    assert str(seal_head.current()) in text.replace("=\r\n", "").replace("\r\n", "").replace("=\n", "")
    assert (_row().state, _row().tries) == ("sent", 1)


def test_while_the_mail_server_is_down_the_alert_is_kept_and_sent_later(settings: Any) -> None:
    port = far_ends.free_port()
    _mails_to(settings, port)
    alerts.raise_once(CAUSE)
    assert deliveries.deliver("email") == 0
    row = _row()
    assert (row.state, row.tries) == ("pending", 1)
    assert "ConnectionRefusedError" in row.last_error
    assert row.next_try_at > timezone.now() + timedelta(seconds=10)
    assert deliveries.deliver("email") == 0, "not before its time"
    assert _row().tries == 1
    _now_due()
    with far_ends.smtp(port) as inbox:
        assert deliveries.deliver("email") == 1
    assert len(inbox) == 1


def test_a_mail_server_that_drips_is_hung_up_on(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "TOTAL_SEC", 0.5)
    with far_ends.receiver(speaks_first=True) as slow:
        _mails_to(settings, int(slow.url.split(":")[2].split("/")[0]))
        begun = time.monotonic()
        alerts.raise_once(CAUSE)
        assert deliveries.deliver("email") == 0
        assert time.monotonic() - begun < 4
    assert _row().state == "pending"


def test_a_webhook_gets_the_facts_signed_over_time_and_body(settings: Any) -> None:
    with far_ends.receiver() as there:
        settings.ALERT_WEBHOOK_URL = there.url
        pk = alerts.raise_once(CAUSE)
        assert deliveries.deliver("webhook") == 1
    ((line, headers, body),) = there.received
    assert line == "POST /in?key=1 HTTP/1.1"
    said = json.loads(body)
    assert (said["event"], said["alert"]["id"], said["alert"]["kind"]) == (
        "alert.opened",
        pk,
        "worker_silent",
    )
    stamp = headers["x-nexmdm-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    assert headers["x-nexmdm-signature"] == f"sha256={webhook.signature(SECRET, stamp, body)}"
    assert webhook.signature(SECRET, stamp, body) != webhook.signature(SECRET, str(int(stamp) + 1), body)
    assert headers["x-nexmdm-delivery"] == str(said["delivery_id"])


def test_the_resolution_goes_out_after_the_alert_and_never_before_it(settings: Any) -> None:
    refused = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with far_ends.receiver(refused, far_ends.OK) as there:
        settings.ALERT_WEBHOOK_URL = there.url
        alerts.raise_once(CAUSE)
        assert deliveries.deliver("webhook") == 0
        Alert.objects.update(calm_since=timezone.now() - timedelta(minutes=1))
        alerts.settle([], timezone.now())
        assert deliveries.deliver("webhook") == 0, "the first one is not through yet"
        _now_due()
        assert deliveries.deliver("webhook") == 2
    events = [json.loads(body)["event"] for _, _, body in there.received]
    assert events == ["alert.opened", "alert.opened", "alert.resolved"]
    ids = [json.loads(body)["delivery_id"] for _, _, body in there.received]
    assert ids[0] == ids[1], "a message that comes twice says so"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n", "not followed"),
        (b"HTTP/1.1 307 Go\r\nLocation: /in\r\nContent-Length: 0\r\n\r\n", "answered 307"),
        (b"\x00\xff no HTTP at all\r\n\r\n", "ProtocolError"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "ProtocolError"),
        (HANG, "ReadTimeoutError"),
        (DRIP, "Error"),
    ],
    ids=["500", "404", "redirect", "loop", "noise", "headers without end", "hangs", "drips"],
)
def test_a_far_end_that_is_slow_or_lies_or_redirects_is_asked_once_and_left(
    settings: Any, monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str
) -> None:
    monkeypatch.setattr(webhook, "TOTAL_SEC", 0.6)
    with far_ends.receiver(answer) as there:
        settings.ALERT_WEBHOOK_URL = there.url
        alerts.raise_once(CAUSE)
        begun = time.monotonic()
        assert deliveries.deliver("webhook") == 0
        assert time.monotonic() - begun < 4
    assert len(there.received) == 1
    assert words in _row().last_error


def test_an_endless_body_is_not_read(settings: Any) -> None:
    with far_ends.receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx") as there:
        settings.ALERT_WEBHOOK_URL = there.url
        alerts.raise_once(CAUSE)
        assert deliveries.deliver("webhook") == 1


def test_pauses_grow_to_an_hour_and_after_three_days_it_is_given_up(settings: Any) -> None:
    assert [deliveries.pause_sec(tries) for tries in (1, 2, 3, 8, 9, 1000)] == [15, 30, 60, 1920, 3600, 3600]
    settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{far_ends.free_port()}/"
    alerts.raise_once(CAUSE)
    AlertDelivery.objects.update(created_at=timezone.now() - timedelta(days=3, minutes=1))
    assert deliveries.deliver("webhook") == 0
    assert _row().state == "given_up"
    assert deliveries.due() == []


def test_who_dies_while_sending_leaves_it_to_the_next(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALERT_WEBHOOK_URL = "http://127.0.0.1:1/"
    alerts.raise_once(CAUSE)

    def die(_: AlertDelivery) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setitem(deliveries._SEND, "webhook", die)  # type: ignore[arg-type]
        with pytest.raises(SystemExit):
            deliveries.deliver("webhook")
    row = _row()
    assert (row.state, row.tries) == ("pending", 1)
    assert timedelta(seconds=50) < row.next_try_at - timezone.now() < timedelta(seconds=61)


@pytest.mark.django_db(transaction=True)
def test_a_far_end_that_hangs_keeps_neither_the_watch_nor_the_mails(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TOTAL_SEC", 3.0)
    port = far_ends.free_port()
    _mails_to(settings, port)
    with far_ends.receiver(HANG) as there, far_ends.smtp(port) as inbox:
        settings.ALERT_WEBHOOK_URL = there.url
        alerts.raise_once(CAUSE)
        begun = time.monotonic()
        rounds.keep()
        rounds.keep()
        assert time.monotonic() - begun < 2
        courier._under_way["email"].join(10)
        assert len(inbox) == 1
        courier._under_way["webhook"].join(10)
        assert len(there.received) == 1
    assert AlertDelivery.objects.get(channel="webhook").state == "pending"


# --- where a webhook may go -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::7f00:1", False),
        ("::ffff:0:7f00:1", False),
        ("fec0::1", False),
        ("2001:0:7f00:1::", False),
    ],
)
def test_only_the_public_internet_may_be_called_unless_a_setting_says_so(address: str, allowed: bool) -> None:
    found = ipaddress.ip_address(address)
    assert public_address.may_be_called(found, []) is allowed
    assert public_address.may_be_called(found, networks("X", [address])) is True


def test_a_name_that_leads_inside_is_refused_even_beside_a_public_address(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answers(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", (ip, port)) for ip in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr("mdm.watch.public_address.socket.getaddrinfo", answers)
    settings.ALERT_WEBHOOK_URL = "https://hooks.example.com/in"
    alerts.raise_once(CAUSE)
    assert deliveries.deliver("webhook") == 0
    assert "hooks.example.com is 10.0.0.1" in _row().last_error
    assert asked == ["hooks.example.com"]


def test_a_name_is_looked_up_once_and_that_address_is_called(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look-up could be answered otherwise."""
    with far_ends.receiver() as there:
        port = int(there.url.split(":")[2].split("/")[0])
        asked: list[str] = []

        def answers(host: str, *_: Any, **__: Any) -> list[Any]:
            asked.append(host)
            return [(2, 1, 6, "", ("127.0.0.1" if len(asked) == 1 else "10.0.0.1", port))]

        with monkeypatch.context() as patch:
            patch.setattr("mdm.watch.public_address.socket.getaddrinfo", answers)
            found = public_address.look_up("hooks.example.com", port, LOOPBACK)
        assert (found, asked) == ("127.0.0.1", ["hooks.example.com"])
        monkeypatch.setattr(public_address, "look_up", lambda *_: "127.0.0.1")
        webhook.post(f"http://hooks.example.com:{port}/in", b"{}", {})
    ((_, headers, _),) = there.received
    assert headers["host"] == f"hooks.example.com:{port}"


@pytest.mark.parametrize(("name", "taken"), [("hooks.example.com", True), ("other.example.com", False)])
def test_over_tls_the_certificate_must_be_the_named_hosts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, taken: bool
) -> None:
    context = far_ends.certificate(name, tmp_path / "pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
    monkeypatch.setattr(public_address, "look_up", lambda *_: "127.0.0.1")
    with far_ends.receiver(tls=context) as there:
        url = f"https://hooks.example.com:{there.url.split(':')[2]}"
        if taken:
            webhook.post(url, b"secret", {})
        else:
            with pytest.raises(HTTPError):
                webhook.post(url, b"secret", {})
    assert [body for _, _, body in there.received if body] == ([b"secret"] if taken else [])


def test_without_a_secret_nothing_is_signed(settings: Any) -> None:
    settings.ALERT_WEBHOOK_SECRET = ""
    assert "X-NexMDM-Signature" not in webhook.headers(b"{}", 1)


@pytest.mark.parametrize("url", ["ftp://x/", "https://", "nowhere", "https://user:pw@x/"])
def test_an_address_that_cannot_be_called_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        checked_webhook(url)
    assert checked_webhook("https://x/in") == "https://x/in"


# --- a webhook without its secret -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "secret", "warned"),
    [("", "", False), ("https://hooks.example.com/in/t0ken", "", True), ("https://x/", "shared", False)],
    ids=["no webhook", "unsigned", "signed"],
)
def test_the_start_and_the_page_of_deliveries_warn_of_an_unsigned_webhook(
    settings: Any, url: str, secret: str, warned: bool
) -> None:
    settings.ALERT_WEBHOOK_URL, settings.ALERT_WEBHOOK_SECRET = url, secret
    assert [problem.id for problem in run_checks() if problem.id == "watch.W001"] == ["watch.W001"] * warned
    page = signed_in("fleet admin").get("/admin/watch/alertdelivery/").content.decode()
    assert ("Set ALERT_WEBHOOK_SECRET" in page) is warned
    assert ("By webhook to hooks.example.com, unsigned." in page) is warned
    assert "t0ken" not in page, "an address may be a secret itself"


def test_the_page_of_deliveries_says_where_alerts_go(settings: Any) -> None:
    client, page = signed_in("fleet admin"), "/admin/watch/alertdelivery/"
    assert "Nowhere" in client.get(page).content.decode()
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = ["ops@example.com"], "https://hooks.example.com/"
    shown = client.get(page).content.decode()
    assert "By e-mail to ops@example.com." in shown
    assert "By webhook to hooks.example.com, signed." in shown
