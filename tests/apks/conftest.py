from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import override_settings

from apks.allowlist import manage_package
from apks.models import Apk
from mdm.people import SYSTEM, Actor

PACKAGE = "com.example.app"


@pytest.fixture(autouse=True)
def _store_of_its_own(tmp_path: Path):
    """Artifacts of one test are not there in the next."""
    with override_settings(MEDIA_ROOT=str(tmp_path / "artifacts")):
        yield


@pytest.fixture
def publisher(db: None) -> Actor:
    user = User.objects.create_user("pat")
    names = ["upload_apkversion", "withdraw_apkversion", "manage_apk"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return Actor.person(User.objects.get(pk=user.pk), request_id="r-1")


@pytest.fixture
def managed(db: None) -> Apk:
    return manage_package(SYSTEM, PACKAGE, "Example")
