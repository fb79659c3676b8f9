"""Guessing is slowed: passwords by account and address, bearer tokens by address; who has the right one is let in."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client, RequestFactory
from django.utils import timezone

from mdm import throttle
from mdm.addresses import client_network
from mdm.models import AuditEvent, Throttle
from mdm.problems import TooManyAttempts
from mdm.throttle import BAD_TOKENS, SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS, SIGN_IN_HERE, Limit
from tests.calls import Caller, as_device, as_user
from tests.deployments import scene
from tests.factories import PASSWORD, AdminFactory, enrollment_token, member

SMALL = Limit("test", 3, 60)
HOUR = 3600


@pytest.fixture(autouse=True)
def _no_place_comes_back_while_a_slow_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGN_IN_HERE", "SIGN_IN_ADDRESS", "SIGN_IN_ACCOUNT"):
        monkeypatch.setattr(f"mdm.sign_in.{name}", replace(getattr(throttle, name), every_sec=HOUR))
    monkeypatch.setattr("mdm.throttle.BAD_TOKENS", replace(BAD_TOKENS, every_sec=HOUR))


def sign_in(name: str, password: str, address: str = "192.0.2.1") -> Any:
    body = {"username": name, "password": password}
    return Client(REMOTE_ADDR=address).post("/admin/login/?next=/admin/", body)


def time_passes(seconds: float) -> None:
    Throttle.objects.update(empty_at=F("empty_at") - timedelta(seconds=seconds))


# --- the bucket ------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_so_many_at_once_then_one_each_interval() -> None:
    for _ in range(3):
        throttle.take([(SMALL, "a")])
    with pytest.raises(TooManyAttempts) as refused:
        throttle.take([(SMALL, "a")])
    assert 59 <= refused.value.retry_after <= 60
    throttle.take([(SMALL, "b")])
    time_passes(60)
    throttle.take([(SMALL, "a")])
    with pytest.raises(TooManyAttempts):
        throttle.take([(SMALL, "a")])


@pytest.mark.django_db
def test_a_bucket_is_never_emptier_than_empty() -> None:
    throttle.take([(SMALL, "a")])
    time_passes(3600)
    for _ in range(3):
        throttle.take([(SMALL, "a")])
    with pytest.raises(TooManyAttempts):
        throttle.take([(SMALL, "a")])


@pytest.mark.django_db
def test_what_one_limit_refuses_uses_up_no_other() -> None:
    wide = Limit("wide", 100, 60)
    for _ in range(3):
        throttle.take([(wide, "a"), (SMALL, "a")])
    before = Throttle.objects.get(scope="wide").empty_at
    for _ in range(20):
        with pytest.raises(TooManyAttempts):
            throttle.take([(wide, "a"), (SMALL, "a")])
    assert Throttle.objects.get(scope="wide").empty_at == before


@pytest.mark.django_db
def test_a_guess_that_was_right_counts_for_nothing() -> None:
    for _ in range(10):
        with throttle.guess([(SMALL, "a")]):
            pass
    throttle.take([(SMALL, "a")])


@pytest.mark.django_db
def test_the_log_is_told_once_an_hour_however_long_it_goes_on() -> None:
    for _ in range(50):
        try:
            throttle.take([(SMALL, "a")])
        except TooManyAttempts:
            continue
    assert AuditEvent.objects.filter(action="throttle").count() == 1
    Throttle.objects.update(noted_at=timezone.now() - timedelta(hours=2))
    with pytest.raises(TooManyAttempts):
        throttle.take([(SMALL, "a")])
    assert AuditEvent.objects.filter(action="throttle").count() == 2


def _let_through(take: Callable[[], None], threads: int = 24) -> int:
    """How many of so many simultaneous attempts were let through, each over a connection of its own."""
    together, passed = threading.Barrier(threads), []

    def attempt() -> None:
        connection.ensure_connection()
        together.wait()
        try:
            take()
            passed.append(1)
        except TooManyAttempts:
            pass
        finally:
            connection.close()

    running = [threading.Thread(target=attempt) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return len(passed)


@pytest.mark.django_db(transaction=True)
def test_simultaneous_guesses_are_exactly_as_many_as_the_limit() -> None:
    assert _let_through(lambda: throttle.take([(SMALL, "a")])) == 3


@pytest.mark.django_db(transaction=True)
def test_without_the_count_before_the_look_more_would_come_through() -> None:
    """The negative control: looked first, counted afterwards."""
    looked = threading.Barrier(24)

    def look_then_count() -> None:
        full = Throttle.objects.filter(empty_at__gt=timezone.now() + timedelta(seconds=120)).exists()
        looked.wait()
        if full:
            raise TooManyAttempts(retry_after=1)
        with connection.cursor() as cursor:
            cursor.execute(throttle._TAKE.replace("WHERE t.empty_at", "WHERE true OR t.empty_at"), _small())

    assert _let_through(look_then_count) == 24


def _small() -> dict[str, Any]:
    return SMALL.params("a")


# --- passwords -------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_after_ten_wrong_passwords_even_the_right_one_waits() -> None:
    user = AdminFactory()
    for _ in range(SIGN_IN_HERE.burst):
        assert sign_in(user.username, "wrong").status_code == 200
    refused = sign_in(user.username, PASSWORD)
    assert (refused.status_code, "_auth_user_id" in refused.client.session) == (429, False)
    assert HOUR - 60 < int(refused["Retry-After"]) <= HOUR
    assert b"Too many attempts" in refused.content
    time_passes(HOUR)
    assert sign_in(user.username, PASSWORD).status_code == 302


@pytest.mark.django_db
def test_an_account_is_slowed_alike_whether_it_exists_or_not() -> None:
    AdminFactory(username="ada")
    answers = {
        name: [sign_in(name, "wrong", f"192.0.2.{index}").status_code for _ in range(12)]
        for index, name in enumerate(("ada", "nobody"))
    }
    assert answers["ada"] == answers["nobody"] == [200] * 10 + [429] * 2


@pytest.mark.django_db
def test_who_is_slowed_at_one_address_signs_in_at_another() -> None:
    user = AdminFactory()
    for _ in range(20):
        sign_in(user.username, "wrong", "192.0.2.1")
    assert sign_in(user.username, PASSWORD, "192.0.2.2").status_code == 302


@pytest.mark.django_db
def test_one_address_that_tries_many_accounts_is_slowed() -> None:
    answers = [sign_in(f"user-{number}", "wrong").status_code for number in range(60)]
    assert answers == [200] * SIGN_IN_ADDRESS.burst + [429] * 10
    assert sign_in(AdminFactory().username, PASSWORD, "192.0.2.9").status_code == 302


@pytest.mark.django_db
def test_one_account_guessed_from_many_addresses_is_slowed() -> None:
    AdminFactory(username="ada")
    answers = [sign_in("ADA" if n % 2 else "ada", "wrong", f"198.51.100.{n}").status_code for n in range(110)]
    assert answers == [200] * SIGN_IN_ACCOUNT.burst + [429] * 10


@pytest.mark.django_db
def test_a_hundred_people_behind_one_address_all_sign_in() -> None:
    people = [AdminFactory() for _ in range(SIGN_IN_ADDRESS.burst + 10)]
    assert {sign_in(person.username, PASSWORD).status_code for person in people} == {302}


@pytest.mark.django_db
def test_what_was_typed_for_a_name_is_kept_nowhere() -> None:
    """People type passwords into the wrong field."""
    for _ in range(12):
        sign_in("hunter2!", "wrong")
    assert AuditEvent.objects.filter(action="throttle").exists()
    assert "hunter2" not in f"{Throttle.objects.values()}{AuditEvent.objects.values()}"


@pytest.mark.django_db
def test_an_open_session_is_no_way_to_find_its_password() -> None:
    user = AdminFactory()
    client = Client()
    client.force_login(user)
    body = {"old_password": "wrong", "new_password1": "pack my box 9", "new_password2": "pack my box 9"}
    answers = [client.post("/admin/password_change/", body).status_code for _ in range(12)]
    assert answers == [200] * 10 + [429] * 2
    assert client.post("/admin/password_change/", body | {"old_password": PASSWORD}).status_code == 429


@pytest.mark.django_db
def test_an_empty_form_is_no_guess() -> None:
    for _ in range(SIGN_IN_ADDRESS.burst + 1):
        assert sign_in("", "").status_code == 200


# --- bearer tokens ---------------------------------------------------------------------------------------
def _doors() -> dict[str, Callable[[], Any]]:
    """Each call is another guess."""
    body = {"serial": "R58M12", "model": "Joy 2", "sdk_int": 33}
    guess = itertools.count().__next__
    return {
        "api token": lambda: Caller(f"nxa_{guess()}")("GET", "/v1/devices"),
        "enrolment token": lambda: Caller()(
            "POST", "/v1/agent/enroll", body | {"enrollment_token": f"nxe_{guess()}"}
        ),
        "enrolment token beside an old device token": lambda: Caller("nxd_old")(
            "POST", "/v1/agent/enroll", body | {"enrollment_token": f"nxe_{guess()}"}
        ),
        "device token": lambda: Caller(f"nxd_{guess()}")("POST", "/v1/agent/devices/1/heartbeat", {}),
    }


@pytest.fixture
def device_at_work() -> Callable[[], int]:
    (device,) = scene.devices(1)
    call = as_device(device)
    return lambda: call("POST", f"/v1/agent/devices/{device.pk}/heartbeat", {}).status


@pytest.mark.django_db
@pytest.mark.parametrize(
    "door", ["api token", "enrolment token", "enrolment token beside an old device token", "device token"]
)
def test_wrong_tokens_are_slowed_and_the_fleet_behind_the_same_address_goes_on(
    door: str, device_at_work: Callable[[], int]
) -> None:
    ask = _doors()[door]
    answers = [ask() for _ in range(BAD_TOKENS.burst + 5)]
    assert [answer.status for answer in answers[: BAD_TOKENS.burst]] == [401] * BAD_TOKENS.burst
    last = answers[-1]
    assert (last.status, last.type) == (429, "too_many_attempts")
    assert HOUR - 60 < int(last.headers["Retry-After"]) <= HOUR
    assert device_at_work() == 200
    body = {
        "enrollment_token": enrollment_token()[1], "serial": "R58M99", "model": "Joy 2", "sdk_int": 33,
    }  # fmt: skip
    assert Caller()("POST", "/v1/agent/enroll", body).status == 201
    assert as_user(member("viewer"))("GET", "/v1/devices").status == 200
    time_passes(HOUR)
    assert ask().status == 401


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["nxd_void", ""])
def test_the_same_void_token_again_or_none_is_no_guess(token: str) -> None:
    for _ in range(BAD_TOKENS.burst + 5):
        assert Caller(token)("GET", "/v1/agent/deployments/1/devices/1").status == 401
        assert Caller(token)("GET", "/v1/devices").status == 401
    assert Throttle.objects.count() == (2 if token else 0)


@pytest.mark.django_db
def test_a_void_enrolment_token_that_a_whole_shop_was_given_is_one_guess() -> None:
    for number in range(BAD_TOKENS.burst + 5):
        body = {"enrollment_token": "nxe_void", "serial": f"R58M{number}", "model": "Joy 2", "sdk_int": 33}
        assert Caller()("POST", "/v1/agent/enroll", body).status == 401


@pytest.mark.django_db
def test_guesses_beyond_the_limit_leave_no_rows() -> None:
    for number in range(BAD_TOKENS.burst + 20):
        Caller(f"nxa_{number}")("GET", "/v1/devices")
    assert Throttle.objects.count() == BAD_TOKENS.burst + 1


@pytest.mark.django_db
def test_a_right_token_costs_no_write(django_assert_max_num_queries: Any) -> None:
    call = as_user(member("viewer"))
    call("GET", "/v1/devices")
    with django_assert_max_num_queries(20) as found:
        call("GET", "/v1/devices")
    assert not any("throttle" in query["sql"] for query in found)


# --- whose address it is ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("unix:", "unknown"),
    ],
)
def test_a_host_that_changes_its_address_within_its_network_stays_the_same(
    address: str, network: str
) -> None:
    assert client_network(RequestFactory().get("/", REMOTE_ADDR=address)) == network


@pytest.mark.django_db
def test_a_header_that_nobody_trusted_set_makes_no_new_address() -> None:
    answers = [
        Client(REMOTE_ADDR="192.0.2.1").post(
            "/admin/login/", {"username": "x", "password": "y"}, headers={"X-Forwarded-For": f"203.0.113.{number}"}
        ).status_code
        for number in range(12)
    ]  # fmt: skip
    assert answers[-1] == 429
    assert not User.objects.exists()
