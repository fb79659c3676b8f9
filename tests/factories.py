"""Rows for tests: valid, alike, and different where the database wants them to be."""

from typing import Any

import factory
from django.contrib.auth.models import Group, User
from django.utils import timezone
from factory.django import DjangoModelFactory

from apks.models import Apk, ApkVersion
from deployments.models import Deployment, DeploymentTarget
from deployments.rules.options import DeploymentOptions
from devices.models import Device, DeviceToken, EnrollmentToken, Heartbeat
from mdm import secret_tokens
from mdm.models import ApiToken
from mdm.people import Actor

PASSWORD = "correct horse"


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda number: f"person-{number}")
    password = factory.django.Password(PASSWORD)

    @factory.post_generation
    def groups(self: User, create: bool, names: list[str] | None, **kwargs: Any) -> None:
        if names:
            self.groups.set(Group.objects.filter(name__in=names))


class AdminFactory(UserFactory):
    is_staff = True
    is_superuser = True


class ApkFactory(DjangoModelFactory[Apk]):
    class Meta:
        model = Apk
        django_get_or_create = ("package_name",)

    package_name = "com.nexmdm"
    display_name = "NexMDM"
    managed = True
    signer_sha256 = "a" * 64


class ApkVersionFactory(DjangoModelFactory[ApkVersion]):
    class Meta:
        model = ApkVersion

    apk = factory.SubFactory(ApkFactory)
    version_code = factory.Sequence(lambda number: 121 + number)
    version_name = factory.LazyAttribute(lambda version: f"1.0.{version.version_code}")
    sha256 = factory.LazyAttribute(lambda version: f"{version.version_code:064x}")
    download_url = factory.LazyAttribute(lambda version: f"/v1/artifacts/{version.sha256}.apk")
    signature_info = factory.LazyFunction(
        lambda: {"schemes": ["v2"], "lineage": ["a" * 64], "subject": "CN=a"}
    )
    size_bytes = 1_000_000
    min_sdk = 26
    signer_sha256 = "a" * 64


class DeviceFactory(DjangoModelFactory[Device]):
    """An active device that was just seen, with everything a deployment could ask for."""

    class Meta:
        model = Device
        skip_postgeneration_save = True

    serial = factory.Sequence(lambda number: f"R58M{number:07d}")
    alias = factory.Sequence(lambda number: f"till-{number}")
    model = "Orbic Joy 2"
    sdk_int = 33
    abis = factory.LazyFunction(lambda: ["arm64-v8a"])
    max_schema = 1
    current_versions = factory.LazyFunction(
        lambda: {"com.nexmdm": {"version_code": 120, "version_name": "1.0.120"}}
    )

    @factory.post_generation
    def beat(self: Device, create: bool, readings: dict[str, Any] | None, **kwargs: Any) -> None:
        ready = {
            "battery": 90,
            "charging": False,
            "network": "wifi",
            "metered": False,
            "free_storage_mb": 8_000,
        }
        Heartbeat.objects.create(device=self, **({"received_at": timezone.now()} | ready | (readings or {})))


class DeploymentFactory(DjangoModelFactory[Deployment]):
    """Queued and not yet planned, its target an entire fleet."""

    class Meta:
        model = Deployment
        skip_postgeneration_save = True

    to_version = factory.SubFactory(ApkVersionFactory)
    apk = factory.SelfAttribute("to_version.apk")
    created_by = factory.SubFactory(UserFactory)
    options = factory.LazyFunction(lambda: DeploymentOptions().to_json())

    @factory.post_generation
    def target(self: Deployment, create: bool, query: dict[str, Any] | None, **kwargs: Any) -> None:
        query = query or {"type": "fleet"}
        DeploymentTarget.objects.create(deployment=self, scope=query["type"], selection_query=query)


def member(*groups: str, **more: Any) -> User:
    """A person in these groups."""
    return UserFactory(groups=list(groups), **more)


def actor(*groups: str) -> Actor:
    return Actor.person(member(*groups))


def api_token(user: User, **more: Any) -> str:
    """The text of a token that is valid unless `more` (columns) says otherwise."""
    text, digest = secret_tokens.make("nxa")
    ApiToken.objects.create(user=user, name="test", digest=digest, **more)
    return text


def device_token(device: Device, **more: Any) -> str:
    text, digest = secret_tokens.make("nxd")
    DeviceToken.objects.create(device=device, digest=digest, **{"first_used_at": timezone.now(), **more})
    return text


def enrollment_token(**more: Any) -> tuple[EnrollmentToken, str]:
    text, digest = secret_tokens.make("nxe")
    return EnrollmentToken.objects.create(digest=digest, **more), text
