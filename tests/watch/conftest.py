import pytest

from mdm import counters


@pytest.fixture(autouse=True)
def nothing_counted_yet() -> None:
    """What earlier tests have left in this process is not written into the tables of this one."""
    counters.gatherer._counts.clear()
