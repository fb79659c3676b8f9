"""Which devices a target means."""

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pydantic import ValidationError

from devices.models import Device
from devices.selection import Target, resolve
from mdm.problems import Invalid
from tests.factories import DeviceFactory

PACKAGE = "com.nexmdm"


def installed(code: int) -> dict[str, Any]:
    return {PACKAGE: {"version_code": code, "version_name": str(code)}}


@pytest.fixture
def fleet(db: None) -> dict[str, Device]:
    """a, b, c active; r retired."""
    retired = {"status": "retired", "retired_at": timezone.now()}
    return {
        "a": DeviceFactory(alias="Till A", tags=["red"], groups=["one"], current_versions=installed(119)),
        "b": DeviceFactory(alias="50%_b", tags=["red", "blue"], groups=["two"], model="TC52"),
        "c": DeviceFactory(alias="c", tags=["blue"], groups=["one", "two"], current_versions={}),
        "r": DeviceFactory(alias="r", tags=["red"], groups=["one"], **retired),
    }


def names(fleet: dict[str, Device], body: dict[str, Any], package: str = PACKAGE) -> str:
    """The devices that a target means, by their letters; letters in `device_ids` and `exclude_ids` are ids."""
    for field in ("device_ids", "exclude_ids"):
        if isinstance(body.get(field), str):
            body = {**body, field: [fleet[letter].pk for letter in body[field]]}
    found = set(resolve(Target.model_validate(body), package).values_list("pk", flat=True))
    return "".join(letter for letter, device in fleet.items() if device.pk in found)


SELECTIONS = {
    "a fleet is every active device": ({"type": "fleet"}, "abc"),
    "a fleet takes empty device ids and filters": ({"type": "fleet", "device_ids": [], "filters": {}}, "abc"),
    "a fleet may leave devices out": ({"type": "fleet", "exclude_ids": "b"}, "ac"),
    "ids alone": ({"device_ids": "ac"}, "ac"),
    "a retired device named by its id is in the set": ({"device_ids": "ar"}, "ar"),
    "filters match active devices only": ({"filters": {"tags": ["red"]}}, "ab"),
    "within tags any one matches": ({"filters": {"tags": ["red", "blue"]}}, "abc"),
    "within groups any one matches": ({"filters": {"groups": ["one", "two"]}}, "abc"),
    "between the kinds all must match": ({"filters": {"tags": ["red"], "groups": ["two"]}}, "b"),
    "ids and filters are united": ({"device_ids": "c", "filters": {"tags": ["red"]}}, "abc"),
    "a device named and matched is there once": ({"device_ids": "a", "filters": {"tags": ["red"]}}, "ab"),
    "an empty filter beside ids matches nothing": ({"device_ids": "a", "filters": {}}, "a"),
    "blank kinds beside ids match nothing": (
        {"device_ids": "a", "filters": {"tags": [" "], "groups": [], "query": "  ", "models": None}},
        "a",
    ),
    "a blank kind beside another is absent": ({"filters": {"tags": [""], "groups": ["two"]}}, "bc"),
    "the query is a part of the alias in any case": ({"filters": {"query": "tILL"}}, "a"),
    "the query is a part of the model": ({"filters": {"query": "tc5"}}, "b"),
    "blanks around the query do not count": ({"filters": {"query": " till "}}, "a"),
    "a percent sign is a character": ({"filters": {"query": "%"}}, "b"),
    "an underscore is a character": ({"filters": {"query": "_"}}, "b"),
    "a backslash is a character": ({"filters": {"query": "\\"}}, ""),
    "models are exact": ({"filters": {"models": ["TC52", "TC5"]}}, "b"),
    "installed below leaves out what has the version or none": ({"filters": {"installed_below": 120}}, "a"),
    "installed below takes all that are lower": ({"filters": {"installed_below": 121}}, "ab"),
    "installed below and a tag": ({"filters": {"installed_below": 121, "tags": ["blue"]}}, "b"),
    "the excluded are left out": ({"filters": {"tags": ["red"]}, "exclude_ids": "b"}, "a"),
    "the excluded are left out although named": ({"device_ids": "ab", "exclude_ids": "a"}, "b"),
    "tags are compared whole": ({"filters": {"tags": ["re"]}}, ""),
}


@pytest.mark.parametrize(("body", "expected"), SELECTIONS.values(), ids=SELECTIONS)
def test_a_target_means(body: dict[str, Any], expected: str, fleet: dict[str, Device]) -> None:
    assert names(fleet, {"type": "selection", **body}) == expected


def test_installed_below_is_about_the_package_that_is_deployed(fleet: dict[str, Device]) -> None:
    body = {"type": "selection", "filters": {"installed_below": 500}}
    assert names(fleet, body, "com.example.other") == ""


def test_ids_as_text_are_ids(fleet: dict[str, Device]) -> None:
    assert names(fleet, {"type": "selection", "device_ids": [str(fleet["a"].pk), fleet["a"].pk]}) == "a"


REFUSED = {
    "neither ids nor filters": {"type": "selection"},
    "an empty list of ids": {"type": "selection", "device_ids": []},
    "a filter with no kind left": {"type": "selection", "filters": {"tags": [], "query": " "}},
    "only excluded ids": {"type": "selection", "exclude_ids": "a"},
    "a fleet with device ids": {"type": "fleet", "device_ids": "a"},
    "a fleet with filters": {"type": "fleet", "filters": {"tags": ["red"]}},
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_a_target_that_names_nothing_or_too_much_is_refused(
    body: dict[str, Any], fleet: dict[str, Device]
) -> None:
    with pytest.raises(Invalid):
        names(fleet, body)


@pytest.mark.parametrize("field", ["device_ids", "exclude_ids"])
@pytest.mark.parametrize("unknown", [999_999_999, "abc", "0", -1, 2**63, 2**200, "9" * 60, "1.5"])
def test_unknown_ids_are_listed(field: str, unknown: Any, fleet: dict[str, Device]) -> None:
    body = {"type": "selection", "device_ids": [fleet["a"].pk]}
    body[field] = [fleet["b"].pk, unknown]
    with pytest.raises(Invalid) as caught:
        resolve(Target.model_validate(body), PACKAGE)
    assert (caught.value.slug, caught.value.extra) == ("unknown_devices", {"unknown_ids": [unknown]})
    assert f"target.{field}" in caught.value.errors


WRONG_FORM = [
    {}, {"type": "all"}, {"type": None}, {"type": "fleet", "surprise": 1}, {"type": "selection", "device_ids": 5},
    {"type": "selection", "device_ids": [True]}, {"type": "selection", "device_ids": [1.0]},
    {"type": "selection", "device_ids": [None]}, {"type": "selection", "filters": []},
    {"type": "selection", "filters": {"color": "red"}}, {"type": "selection", "filters": {"tags": "red"}},
    {"type": "selection", "filters": {"tags": [1]}}, {"type": "selection", "filters": {"query": 5}},
    {"type": "selection", "filters": {"installed_below": "121"}},
    {"type": "selection", "filters": {"installed_below": 0}},
    {"type": "selection", "filters": {"installed_below": 2**31}},
    {"type": "selection", "filters": {"query": "x" * 201}},
    {"type": "selection", "filters": {"tags": ["x"] * 1001}},
    {"type": "selection", "device_ids": list(range(200_001))},
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG_FORM, ids=lambda body: str(body)[:60])
def test_a_target_of_the_wrong_form_is_not_read(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Target.model_validate(body)


def test_two_ways_of_saying_the_same_are_equal_and_survive_being_kept() -> None:
    terse = Target.model_validate({"type": "selection", "device_ids": [5]})
    wordy = Target.model_validate(
        {
            "type": "selection",
            "device_ids": ["5", 5],
            "filters": {"tags": [" "], "query": ""},
            "exclude_ids": [],
        }
    )
    assert terse == wordy == Target.model_validate(wordy.to_json())
    assert wordy.to_json() == {"type": "selection", "device_ids": [5]}


@pytest.mark.django_db
def test_ten_thousand_ids_are_one_parameter_of_one_insert(django_assert_num_queries: Any) -> None:
    Device.objects.bulk_create(Device(serial=f"S{number}", model="m", sdk_int=33) for number in range(10_000))
    ids = list(Device.objects.values_list("pk", flat=True))
    with django_assert_num_queries(1):
        found = resolve(Target(type="selection", device_ids=ids), PACKAGE)
    sql, params = found.values("pk").query.sql_with_params()
    assert len(params) < 5
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE picked (id bigint)")
        cursor.execute(f"INSERT INTO picked {sql}", params)
        assert cursor.rowcount == 10_000
