"""Which packages may be uploaded and deployed, and which of their versions no longer may."""

from typing import Final

from django.db import transaction
from django.utils import timezone

from apks.models import Apk, ApkVersion
from apks.package_name import is_package_name
from apks.signals import package_unmanaged, version_withdrawn, withdrawal_begins
from apks.typed_text import checked_text
from mdm import audit
from mdm.people import Actor
from mdm.problems import Invalid, NotFound
from mdm.wire_types import as_id

MAX_DISPLAY_NAME: Final = 100
MAX_REASON: Final = 500


def manage_package(actor: Actor, package_name: str, display_name: str = "") -> Apk:
    """Puts a package on the allowlist, or gives it another name to show; repeating it changes nothing.

    Needs `apks.manage_apk`. Raises Invalid. Without a `display_name` a new package is shown by its own name.
    """
    actor.require("apks.manage_apk")
    if not is_package_name(package_name):
        detail = "This is no package name that Android accepts, such as com.example.app."
        raise Invalid(detail, errors={"package_name": detail})
    shown = checked_text("display_name", display_name, MAX_DISPLAY_NAME)
    with transaction.atomic():
        Apk.objects.get_or_create(
            package_name=package_name, defaults={"display_name": shown or package_name[:100]}
        )
        apk = Apk.objects.select_for_update(no_key=True).get(package_name=package_name)
        before = {"managed": apk.managed, "display_name": apk.display_name}
        after = {"managed": True, "display_name": shown or apk.display_name}
        if before != after:
            Apk.objects.filter(pk=apk.pk).update(**after)
            apk.managed, apk.display_name = True, shown or apk.display_name
            meta = {"before": before, "after": after}
            audit.record(actor, "manage_apk", apk, f"Put {package_name} on the allowlist.", meta)
    return apk


def unmanage_package(actor: Actor, package_name: str) -> Apk:
    """Takes a package off the allowlist; repeating it changes nothing. Its versions stay.

    Needs `apks.manage_apk`. Raises NotFound. Sends `package_unmanaged` in the same transaction.
    """
    actor.require("apks.manage_apk")
    if not is_package_name(package_name):
        raise NotFound("There is no such package.")
    with transaction.atomic():
        apk = Apk.objects.select_for_update(no_key=True).filter(package_name=package_name).first()
        if apk is None:
            raise NotFound("There is no such package.")
        if apk.managed:
            Apk.objects.filter(pk=apk.pk).update(managed=False)
            apk.managed = False
            audit.record(actor, "unmanage_apk", apk, f"Took {package_name} off the allowlist.", level="warn")
            package_unmanaged.send(sender=Apk, apk=apk, actor=actor)
    return apk


def withdraw(actor: Actor, version_id: int, reason: str) -> ApkVersion:
    """Nobody gets this version any more. For good; repeating it keeps the first reason.

    Needs `apks.withdraw_apkversion`. Raises NotFound, and Invalid without a reason. Sends `version_withdrawn`
    in the same transaction.
    """
    actor.require("apks.withdraw_apkversion")
    why = checked_text("reason", reason, MAX_REASON)
    if not why:
        raise Invalid("A reason is required.", errors={"reason": "Say why this version is withdrawn."})
    return withdraw_for(actor, as_id(version_id) or 0, why)


def withdraw_for(actor: Actor, version_id: int, why: str) -> ApkVersion:
    """The withdrawal itself, for a deed that has asked for its own permission, a rollback. NotFound."""
    row = ApkVersion.objects.filter(pk=version_id)
    with transaction.atomic():
        withdrawal_begins.send(sender=ApkVersion)
        changed = row.filter(withdrawn_at=None).update(
            withdrawn_at=timezone.now(), withdrawn_by=actor.user, withdrawn_reason=why
        )
        version = row.select_related("apk").first()
        if version is None:
            raise NotFound("There is no such version.")
        if changed:
            audit.record(
                actor, "withdraw_apkversion", version, f"Withdrew {version}.", {"reason": why}, level="warn"
            )
            version_withdrawn.send(sender=ApkVersion, version=version, actor=actor, reason=why)
    return version
