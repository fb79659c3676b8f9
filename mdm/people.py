"""Who acts. Every domain call takes an Actor and asks it for the permission, so that every door is equal."""

from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import User

from mdm.problems import Forbidden, Unauthorized

VIEWER: Final = (
    "apks.view_apk",
    "apks.view_apkversion",
    "devices.view_device",
    "devices.view_heartbeat",
    "deployments.view_deployment",
    "deployments.view_deploymenttarget",
    "deployments.view_deploymenttask",
    "deployments.view_deploymentevent",
    "deployments.view_deploymentattempt",
    "deployments.view_fleetswitch",
    "deployments.dry_run_deployment",
    "deployments.export_deployment",
    "watch.view_alert",
)
OPERATOR: Final = (
    *VIEWER,
    "deployments.start_deployment",
    "deployments.operate_deployment",
    "deployments.engage_kill_switch",
    "watch.acknowledge_alert",
)
FLEET_ADMIN: Final = (
    *OPERATOR,
    "apks.upload_apkversion",
    "apks.withdraw_apkversion",
    "apks.manage_apk",
    "devices.change_device",
    "devices.view_enrollmenttoken",
    "devices.issue_enrollmenttoken",
    "devices.view_devicetoken",
    "deployments.rollback_deployment",
    "deployments.approve_deployment",
    "deployments.release_kill_switch",
    "deployments.change_flag",
    "mdm.view_auditevent",
    "watch.view_alertdelivery",
    "watch.view_auditseal",
    "watch.view_auditcut",
)
GROUPS: Final = {"viewer": VIEWER, "operator": OPERATOR, "fleet admin": FLEET_ADMIN}
READING: Final = frozenset(VIEWER) | {"devices.view_enrollmenttoken", "mdm.view_auditevent"}


@dataclass(frozen=True, slots=True)
class Actor:
    """A person (through a session or an API token), a device, or the system itself.

    `name` is what the audit log keeps: `user:alice`, `device:17`, `system`.
    """

    name: str
    user: User | None = None
    read_only: bool = False
    request_id: str = ""

    @classmethod
    def person(cls, user: User, *, read_only: bool = False, request_id: str = "") -> "Actor":
        return cls(f"user:{user.get_username()}", user, read_only, request_id)

    @classmethod
    def device(cls, device_id: int, *, request_id: str = "") -> "Actor":
        return cls(f"device:{device_id}", request_id=request_id)

    def may(self, permission: str) -> bool:
        if self is SYSTEM:
            return True
        if self.user is None or not self.user.is_active:
            return False
        if self.read_only and permission not in READING:
            return False
        return self.user.has_perm(permission)

    def require(self, permission: str) -> None:
        if self.user is None and self is not SYSTEM:
            raise Unauthorized("Sign in or send an API token.")
        if self.read_only and permission not in READING:
            raise Forbidden("This API token may only read.")
        if not self.may(permission):
            raise Forbidden(f"Your account lacks the permission {permission}.")


SYSTEM: Final = Actor("system")
