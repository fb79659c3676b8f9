"""Every address of the product, found by asking the product itself, and people before it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from apks.models import ApkArtifact
from deployments.models import DeploymentBell, DryRun, DryRunDevice, StartRequest
from deployments.reading import summary
from devices.models import DeviceToken, EnrollmentToken
from mdm import audit
from mdm.models import ApiToken, Counter, RecentCount, Throttle, WorkerBeat
from mdm.people import SYSTEM
from mdm.watch.kinds import KINDS
from mdm.watch.models import Alert, AlertDelivery, AuditCut, AuditSeal, LastCut, Reading
from tests.deployments import scene

# From least to most; "nobody" is a member of staff in no group, NEVER is more than anybody.
ROLES = ("nobody", "viewer", "operator", "fleet admin", "superuser")
NOBODY, VIEWER, OPERATOR, FLEET_ADMIN, SUPERUSER, NEVER = range(6)


@dataclass(frozen=True)
class Door:
    name: str
    route: str
    arguments: tuple[str, ...]


def admin_doors() -> list[Door]:
    """Each address below /admin/: named ones by their name, others by their route."""
    found = [door for door in _walk(get_resolver(), "") if door.route.startswith("admin/")]
    names = [door.name for door in found]
    assert len(names) == len(set(names)), "two addresses of one name"
    return found


def other_routes() -> set[str]:
    """What stands outside /admin/, as routes; those of /v1 are told by their OpenAPI documents as well."""
    return {door.route for door in _walk(get_resolver(), "") if not door.route.startswith("admin/")}


def _walk(resolver: URLResolver, before: str) -> Iterator[Door]:
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _walk(entry, route)
        else:
            yield _door(entry, route)


def _door(entry: URLPattern, route: str) -> Door:
    return Door(entry.name or route, route, tuple(entry.pattern.converters) or ())


def rows() -> dict[str, Any]:
    """A row of every model, by the model's lower-case name: a page of no row turns everybody away alike."""
    (device,) = scene.devices(1)
    deployment = scene.start([device], canary=0)
    scene.install(deployment, device)
    person = User.objects.create_user("somebody", is_staff=True)
    version = deployment.to_version
    run = DryRun.objects.create(
        apk_version=version, target={}, options={}, expires_at=timezone.now() + timedelta(hours=1)
    )
    DryRunDevice.objects.create(dry_run=run, device=device, classification="will_update")
    DeploymentBell.objects.get_or_create(deployment=deployment, defaults={"rung_at": timezone.now()})
    summary.summary(deployment.pk)  # leaves its numbers for others
    StartRequest.objects.create(user=person, key="k", body_digest="d", deployment=deployment)
    ApkArtifact.objects.create(apk_version=version, sha256="f" * 64, size_bytes=1, storage_name="x")
    DeviceToken.objects.create(device=device, digest="d" * 64)
    EnrollmentToken.objects.create(digest="e" * 64)
    ApiToken.objects.create(user=person, name="theirs", digest="a" * 64)
    Throttle.objects.create(scope="address", key="192.0.2.1", empty_at=timezone.now())
    WorkerBeat.objects.create(name="worker-1", part="worker")
    Counter.objects.create(name="c")
    RecentCount.objects.create(name="c", slot=timezone.now())
    alert = Alert.objects.create(kind=next(iter(KINDS)), message="said", deployment=deployment)
    AlertDelivery.objects.create(alert=alert, event="opened", channel="email")
    Reading.objects.get_or_create(defaults={"taken_at": timezone.now()})
    LastCut.objects.get_or_create(defaults={"begun_at": timezone.now(), "tries": 0})
    AuditSeal.objects.create(
        number=1, stream="x", after_id=0, last_id=1, rows=1, digests=[], sealed_at=timezone.now()
    )
    AuditCut.objects.create(
        number=1, deployment=deployment, after_id=-2, last_id=-1, rows=1, size_bytes=1, seal_number=1,
        cut_at=timezone.now(),
    )  # fmt: skip
    audit.record(SYSTEM, "note", "nothing", "said")
    found = {
        model._meta.model_name or "": model._default_manager.order_by("pk").last()
        for model in apps.get_models()
        if model._meta.app_label in ("mdm", "apks", "devices", "deployments", "watch")
    }
    return found | {"user": person, "group": Group.objects.get(name="viewer"), "deployment": deployment}


def address(door: Door, found: dict[str, Any]) -> str:
    """An existing address of that door."""
    if not door.arguments and "(?P" not in door.route:
        return "/" + door.route.removesuffix("$").removeprefix("^")
    if door.name == "app_list":
        return "/admin/mdm/"
    if "(?P<url>" in door.route:
        return "/admin/nothing-here"
    if door.name == "view_on_site":
        return f"/admin/r/{ContentType.objects.get_for_model(User).pk}/{found['user'].pk}/"
    row = found[door.route.split("/")[2]]
    route = door.route.replace("<int:task>", str(found["deploymenttask"].pk))
    route = route.replace("<int:run_id>", str(found["dryrun"].pk))
    return "/" + re.sub(r"<[^>]*>", str(row.pk), route)


def session_of(role: str) -> str:
    """A session of `role` of ROLES, of "not staff" or of "inactive"; none for "anonymous"."""
    if role == "anonymous":
        return ""
    client = Client()
    client.force_login(_someone(role))
    if role == "inactive":
        User.objects.filter(username="inactive").update(is_active=False)
    return client.cookies["sessionid"].value


def _someone(role: str) -> User:
    user = User.objects.create_user(
        role.replace(" ", "-"),
        is_staff=role != "not staff",
        is_superuser=role in ("superuser", "inactive"),
    )
    group = Group.objects.filter(name="fleet admin" if role == "not staff" else role).first()
    if group:
        user.groups.add(group)
    return user


def knock(method: str, where: str, session: str) -> Any:
    """What the door answers; whatever it did is undone."""
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = session
    with transaction.atomic():
        answer = client.generic(method, where, content_type="application/x-www-form-urlencoded")
        transaction.set_rollback(True)
    return answer
