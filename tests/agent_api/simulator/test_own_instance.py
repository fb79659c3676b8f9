"""The demo's devices are the same ones when the instance listens somewhere else at its next start."""

from pathlib import Path

import pytest
from pytest_django import Settings

from agent_api.management.commands.fleet import is_own
from agent_api.simulator.identities import IdentityStore


@pytest.mark.parametrize(
    ("server", "own"),
    [
        pytest.param("http://127.0.0.1:8000", True, id="the port and loopback"),
        pytest.param("http://localhost:8000/", True, id="loopback by name"),
        pytest.param("http://127.0.0.1:8001", False, id="another port, another instance"),
        pytest.param("https://mdm.example.com", False, id="another host"),
    ],
)
def test_only_this_instance_is_its_own(server: str, own: bool, settings: Settings) -> None:
    settings.HOST, settings.PORT = "127.0.0.1", 8000
    assert is_own(server) is own


def test_tokens_are_found_again_under_their_owner_and_under_no_other(tmp_path: Path) -> None:
    store = IdentityStore("this instance", tmp_path / "fleet.jsonl")
    store.put("S1", 7, "token", ())
    store.close()
    again = IdentityStore("this instance", tmp_path / "fleet.jsonl")
    found = again.get("S1")
    again.close()
    other = IdentityStore("https://mdm.example.com", tmp_path / "fleet.jsonl")
    assert found is not None
    assert found.device_token == "token"
    assert other.get("S1") is None
    other.close()
