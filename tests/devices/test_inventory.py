"""What a heartbeat may say, and how its list of packages is kept."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from devices.inventory import MAX_VERSION_CODE, HeartbeatIn, PackageIn, current_versions


def read(**said: Any) -> HeartbeatIn:
    return HeartbeatIn.model_validate_json(json.dumps(said))


def test_an_empty_beat_says_only_that_the_device_lives() -> None:
    assert set(read().model_dump().values()) == {None}


def test_null_is_the_same_as_left_out() -> None:
    assert read(**dict.fromkeys(HeartbeatIn.model_fields)) == read()


def test_what_a_newer_agent_says_besides_is_ignored() -> None:
    assert read(battery=5, mood="fine") == read(battery=5)


GOOD = [
    {"battery": 0}, {"battery": 100}, {"network": "none"}, {"free_storage_mb": 2**31 - 1}, {"packages": []},
    {"tz": "America/Argentina/ComodRivadavia"}, {"sdk_int": 21}, {"max_schema": 0}, {"fcm_token": ""},
]  # fmt: skip
BAD = [
    {"battery": -1}, {"battery": 101}, {"battery": "50"}, {"battery": 50.5}, {"battery": True}, {"battery": [50]},
    {"charging": "yes"}, {"charging": 1}, {"charging": "false"}, {"network": "5g"}, {"network": 1}, {"metered": 0},
    {"free_storage_mb": -1}, {"free_storage_mb": 2**31}, {"free_storage_mb": 1.5}, {"doze_exempt": "no"},
    {"in_call": 1}, {"in_use": {}}, {"device_owner": []}, {"tz": 5}, {"max_schema": -1}, {"max_schema": 2**31},
    {"agent_version": "x" * 61}, {"agent_version": 1}, {"sdk_int": "33"}, {"sdk_int": 0}, {"packages": "all"},
    {"packages": {"com.nexmdm": 1}}, {"packages": [1]}, {"packages": [{"package": "com.nexmdm"}]},
    {"packages": [{"package": "", "version_code": 1}]}, {"packages": [{"package": "a" * 224, "version_code": 1}]},
    {"packages": [{"package": "a", "version_code": True}]},
    {"packages": [{"package": "a", "version_code": 1, "version_name": 1}]},
    {"packages": [{"package": "a", "version_code": 1, "version_name": "x" * 256}]},
    {"packages": [{"package": "a", "version_code": 1, "signer_sha256": "ab" * 31}]},
]  # fmt: skip


@pytest.mark.parametrize("said", GOOD, ids=str)
def test_a_beat_may_say(said: dict[str, Any]) -> None:
    read(**said)


@pytest.mark.parametrize("said", BAD, ids=lambda said: str(said)[:60])
def test_a_beat_may_not_say(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**said)


@pytest.mark.parametrize("tz", ["Mars/Olympus", "", "../etc/passwd", "x" * 500, "europe/berlin2"])
def test_a_zone_that_the_server_does_not_know_counts_as_none(tz: str) -> None:
    assert read(tz=tz, battery=5) == read(battery=5)


def test_packages_are_kept_by_name_with_what_was_said() -> None:
    packages = [
        PackageIn(package="com.nexmdm", version_code=120, version_name="1.0.120", signer_sha256="AB" * 32),
        PackageIn(package="com.example", version_code=7),
    ]
    assert current_versions(packages) == {
        "com.nexmdm": {"version_code": 120, "version_name": "1.0.120", "signer_sha256": "ab" * 32},
        "com.example": {"version_code": 7, "version_name": ""},
    }
    assert current_versions([]) == current_versions(None) == {}


def test_a_package_named_twice_counts_as_named_last() -> None:
    packages = [PackageIn(package="a", version_code=1), PackageIn(package="a", version_code=2)]
    assert current_versions(packages)["a"]["version_code"] == 2


def test_a_longer_code_than_can_be_deployed_is_kept_as_the_greatest() -> None:
    (entry,) = current_versions([PackageIn(package="a", version_code=2**40)]).values()
    assert entry["version_code"] == MAX_VERSION_CODE
