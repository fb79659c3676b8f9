from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.fakes import LoopbackFcm


@pytest.fixture
def fcm(settings: Settings) -> Iterator[LoopbackFcm]:
    with LoopbackFcm() as far_end:
        settings.PUSH_TRANSPORT = "fcm"
        settings.FCM_ENDPOINT = far_end.url
        yield far_end
