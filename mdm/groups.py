"""The three groups of people exist after every migration, with the permissions of mdm.people."""

from typing import Any

from django.apps import apps as registry
from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions

from mdm.people import GROUPS


def ensure_groups(*, using: str, apps: Apps = registry, **_signal: Any) -> None:
    """Receiver of post_migrate. Adds what is missing, takes nothing away: an admin may widen a group."""
    try:
        group_model = apps.get_model("auth", "Group")
        permission_model = apps.get_model("auth", "Permission")
    except LookupError:  # on the way to a state without accounts
        return
    for label in sorted({name.partition(".")[0] for names in GROUPS.values() for name in names}):
        # Our signal may come before the one that makes the permissions of a later app.
        create_permissions(registry.get_app_config(label), verbosity=0, apps=apps, using=using)
    known = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in permission_model.objects.using(using).select_related("content_type")
    }
    for name, permissions in GROUPS.items():
        group, _ = group_model.objects.using(using).get_or_create(name=name)
        group.permissions.add(*(known[permission] for permission in permissions))
