"""The agent's codes are the server's, name by name: one that the server does not know would count as `internal`."""

import re

from deployments.rules.retry import ERROR_CODES
from deployments.rules.states import REASONS
from tests.mdm.instance import CHECKOUT

CODES = CHECKOUT / "android-agent/core/src/main/kotlin/com/nexmdm/agent/model/Codes.kt"
# What only the server can find out.
SERVERS_OWN = {"not_healthy", "timed_out", "no_answer", "re_enrolled"}


def test_every_failure_code_of_the_server_is_one_of_the_agents_and_the_other_way_round() -> None:
    assert _entries("FailureCode") == set(ERROR_CODES) - SERVERS_OWN


def test_every_reason_for_which_the_agent_leaves_a_command_undone_is_known_to_the_server() -> None:
    assert _entries("SkipReason") <= set(REASONS)


def _entries(enum: str) -> set[str]:
    """As they go over the wire: the names in lower case."""
    body = re.search(rf"enum class {enum} {{(.*?);", CODES.read_text(), re.DOTALL)
    assert body
    found = set(re.findall(r"^    ([A-Z_]+),$", body[1], re.MULTILINE))
    assert len(found) > 5
    return {name.lower() for name in found}
