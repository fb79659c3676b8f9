"""Who may enter where. A door that is in the product and not in here fails the tests, and the other way round."""

from dataclasses import dataclass
from typing import Any

from tests.mdm.doors import FLEET_ADMIN, NEVER, NOBODY, OPERATOR, SUPERUSER, VIEWER


@dataclass(frozen=True)
class Records:
    """The stock pages of a model: list, one row and its history; adding; changing; deleting."""

    see: int
    add: int = NEVER
    change: int = NEVER
    delete: int = NEVER


# By the address of the list: application/model.
RECORDS = {
    "auth/user": Records(SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "auth/group": Records(SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "mdm/apitoken": Records(NOBODY, add=NOBODY),
    "mdm/auditevent": Records(FLEET_ADMIN),
    "mdm/workerbeat": Records(SUPERUSER),
    "mdm/throttle": Records(SUPERUSER),
    "mdm/counter": Records(SUPERUSER),
    "mdm/recentcount": Records(SUPERUSER),
    "watch/alert": Records(VIEWER),
    "watch/alertdelivery": Records(FLEET_ADMIN),
    "watch/auditseal": Records(FLEET_ADMIN),
    "watch/auditcut": Records(FLEET_ADMIN),
    "watch/lastcut": Records(SUPERUSER),
    "watch/reading": Records(SUPERUSER),
    "apks/apk": Records(VIEWER, add=FLEET_ADMIN),
    "apks/apkversion": Records(VIEWER, add=FLEET_ADMIN),
    "apks/apkartifact": Records(SUPERUSER),
    "devices/device": Records(VIEWER),
    "devices/heartbeat": Records(VIEWER),
    "devices/enrollmenttoken": Records(FLEET_ADMIN, add=FLEET_ADMIN),
    "devices/devicetoken": Records(FLEET_ADMIN),
    "deployments/deployment": Records(VIEWER),
    "deployments/fleetswitch": Records(VIEWER),
    "deployments/deploymenttarget": Records(VIEWER),
    "deployments/deploymenttask": Records(VIEWER),
    "deployments/deploymentattempt": Records(VIEWER),
    "deployments/deploymentevent": Records(VIEWER),
    "deployments/dryrun": Records(SUPERUSER),
    "deployments/dryrundevice": Records(SUPERUSER),
    "deployments/deploymentbell": Records(SUPERUSER),
    "deployments/deploymentnumbers": Records(SUPERUSER),
    "deployments/startrequest": Records(SUPERUSER),
}

# Every other address of the admin by its name: who may GET it, who may POST to it.
PAGES = {
    "index": (NOBODY, NOBODY),
    "logout": (NEVER, NOBODY),
    "password_change": (NOBODY, NOBODY),
    "password_change_done": (NOBODY, NEVER),
    "autocomplete": (NEVER, NEVER),  # no field of ours asks for it
    "jsi18n": (NOBODY, NEVER),
    "view_on_site": (NEVER, NEVER),
    "app_list": (NOBODY, NOBODY),
    "admin/(?P<url>.*)$": (NEVER, NEVER),
    "auth_user_password_change": (SUPERUSER, SUPERUSER),
    "mdm_apitoken_change": (SUPERUSER, NEVER),  # somebody else's
    "mdm_apitoken_history": (SUPERUSER, SUPERUSER),
    "mdm_apitoken_revoke": (NOBODY, SUPERUSER),  # the confirmation tells nothing of the token
    "watch_alert_acknowledge": (OPERATOR, OPERATOR),
    "apks_apk_manage": (FLEET_ADMIN, FLEET_ADMIN),
    "apks_apk_unmanage": (FLEET_ADMIN, FLEET_ADMIN),
    "apks_apkversion_deploy": (VIEWER, VIEWER),  # a dry run; who may start has a test of its own
    "apks_apkversion_dry_run": (VIEWER, VIEWER),
    "apks_apkversion_dry_run_csv": (VIEWER, VIEWER),
    "apks_apkversion_withdraw": (FLEET_ADMIN, FLEET_ADMIN),
    "devices_device_edit": (FLEET_ADMIN, FLEET_ADMIN),
    "devices_device_retire": (FLEET_ADMIN, FLEET_ADMIN),
    "devices_device_activate": (FLEET_ADMIN, FLEET_ADMIN),
    "devices_device_lock_out": (FLEET_ADMIN, FLEET_ADMIN),
    "devices_enrollmenttoken_revoke": (FLEET_ADMIN, FLEET_ADMIN),
    "deployments_deployment_live": (VIEWER, VIEWER),
    "deployments_deployment_order": (VIEWER, VIEWER),
    "deployments_deployment_rows": (VIEWER, VIEWER),
    "deployments_deployment_record": (VIEWER, VIEWER),
    "deployments_deployment_device": (VIEWER, VIEWER),
    "deployments_deployment_export": (VIEWER, VIEWER),
    "deployments_deployment_details": (VIEWER, VIEWER),
    "deployments_deployment_pause": (OPERATOR, OPERATOR),
    "deployments_deployment_explain": (OPERATOR, OPERATOR),
    "deployments_deployment_resume": (OPERATOR, OPERATOR),
    "deployments_deployment_approve": (FLEET_ADMIN, FLEET_ADMIN),
    "deployments_deployment_cancel": (OPERATOR, OPERATOR),
    "deployments_deployment_pace": (OPERATOR, OPERATOR),
    "deployments_deployment_retry": (OPERATOR, OPERATOR),
    "deployments_deployment_rollback": (FLEET_ADMIN, FLEET_ADMIN),
    "deployments_deployment_change": (VIEWER, VIEWER),  # leads to the details
    "deployments_fleetswitch_change": (VIEWER, VIEWER),  # leads to the list
    "deployments_fleetswitch_changelist": (VIEWER, NEVER),  # a POST says which act it is
}

# Acts of pages as a person sends them: page, body, who may. They leave a line in a log, or nothing has happened.
TURNED = {"reason": "drill", "changed_at": "$changed_at"}
ACTS: list[tuple[str, dict[str, str], int]] = [
    ("watch_alert_acknowledge", {}, OPERATOR),
    ("deployments_deployment_pause", {}, OPERATOR),
    ("deployments_deployment_explain", {"reason": "drill"}, OPERATOR),
    ("deployments_deployment_resume", {}, OPERATOR),
    ("deployments_deployment_approve", {}, FLEET_ADMIN),
    ("deployments_deployment_retry", {}, OPERATOR),
    ("deployments_deployment_rollback", {}, FLEET_ADMIN),
    ("deployments_deployment_cancel", {}, OPERATOR),
    ("deployments_deployment_pace", {"rate": "7", "concurrency": "2"}, OPERATOR),
    ("apks_apkversion_withdraw", {"reason": "bad"}, FLEET_ADMIN),
    ("apks_apkversion_add", {"file": "$upload"}, FLEET_ADMIN),
    ("apks_apk_unmanage", {}, FLEET_ADMIN),
    ("apks_apk_manage", {}, FLEET_ADMIN),
    ("apks_apk_add", {"package_name": "com.example.new", "display_name": "New"}, FLEET_ADMIN),
    ("devices_device_edit", {"alias": "renamed"}, FLEET_ADMIN),
    ("devices_device_retire", {}, FLEET_ADMIN),
    ("devices_device_activate", {}, FLEET_ADMIN),
    ("devices_device_lock_out", {}, FLEET_ADMIN),
    ("devices_enrollmenttoken_add", {"max_uses": "1"}, FLEET_ADMIN),
    ("devices_enrollmenttoken_revoke", {}, FLEET_ADMIN),
    ("mdm_apitoken_add", {"name": "mine"}, NOBODY),
    ("mdm_apitoken_revoke", {}, SUPERUSER),
    *(
        (
            "deployments_fleetswitch_changelist",
            {"turn": turn} | {f"{turn}-{name}": text for name, text in (TURNED | more).items()},
            role,
        )
        for turn, more, role in (
            ("engage", {}, OPERATOR),
            ("disable", {}, FLEET_ADMIN),
            ("release", {"typed": "RESUME ALL"}, FLEET_ADMIN),
            ("enable", {}, FLEET_ADMIN),
        )
    ),
]


@dataclass(frozen=True)
class Route:
    """`least`: who may. `reads`: a read-only token may as well. `body`: one that the route accepts."""

    least: int
    reads: bool = False
    body: Any = None


# Operators' routes, by method and path of the OpenAPI document; `$name` in a body is filled in.
V1 = {
    "GET /v1/apks": Route(VIEWER, reads=True),
    "PUT /v1/apks/managed/{package_name}": Route(FLEET_ADMIN, body={"display_name": "New"}),
    "DELETE /v1/apks/managed/{package_name}": Route(FLEET_ADMIN),
    "POST /v1/apks/versions": Route(FLEET_ADMIN, body="$upload"),
    "POST /v1/apks/versions/{version_id}/withdraw": Route(FLEET_ADMIN, body={"reason": "bad"}),
    "GET /v1/apks/{apk_id}/versions": Route(VIEWER, reads=True),
    "GET /v1/deployments": Route(VIEWER, reads=True),
    "POST /v1/deployments": Route(OPERATOR, body="$deploy"),
    "POST /v1/deployments/dry-run": Route(VIEWER, reads=True, body="$deploy"),
    "GET /v1/deployments/dry-run/{dry_run_id}/devices": Route(VIEWER, reads=True),
    "GET /v1/deployments/{deployment_id}": Route(VIEWER, reads=True),
    "PATCH /v1/deployments/{deployment_id}": Route(OPERATOR, body={"rate": 7}),
    "POST /v1/deployments/{deployment_id}/cancel": Route(OPERATOR),
    "GET /v1/deployments/{deployment_id}/events": Route(VIEWER, reads=True),
    "GET /v1/deployments/{deployment_id}/export.csv": Route(VIEWER, reads=True),
    "POST /v1/deployments/{deployment_id}/pause": Route(OPERATOR),
    "POST /v1/deployments/{deployment_id}/resume": Route(OPERATOR),
    "POST /v1/deployments/{deployment_id}/approve": Route(FLEET_ADMIN),
    "POST /v1/deployments/{deployment_id}/retry": Route(OPERATOR),
    "POST /v1/deployments/{deployment_id}/rollback": Route(FLEET_ADMIN, body={}),
    "GET /v1/alerts": Route(VIEWER, reads=True),
    "GET /v1/audit/export.jsonl": Route(FLEET_ADMIN, reads=True),
    "POST /v1/alerts/{alert_id}/acknowledge": Route(OPERATOR),
    "GET /v1/deployments/{deployment_id}/tasks": Route(VIEWER, reads=True),
    "GET /v1/devices": Route(VIEWER, reads=True),
    "GET /v1/devices/{device_id}": Route(VIEWER, reads=True),
    "PATCH /v1/devices/{device_id}": Route(FLEET_ADMIN, body={"alias": "renamed"}),
    "POST /v1/enrollment-tokens": Route(FLEET_ADMIN, body={"max_uses": 1}),
    "GET /v1/fleet-switch": Route(VIEWER, reads=True),
    "PUT /v1/fleet-switch": Route(OPERATOR, body={"kill_switch": True, "reason": "drill"}),
}
# What one route lets some do and not others.
V1_ACTS = [
    ("PUT /v1/fleet-switch", {"kill_switch": False, "reason": "drill"}, FLEET_ADMIN),
    ("PUT /v1/fleet-switch", {"deployments_enabled": False, "reason": "drill"}, FLEET_ADMIN),
    ("PUT /v1/fleet-switch", {"kill_switch": True, "deployments_enabled": False, "reason": "x"}, FLEET_ADMIN),
]

# Agents' routes: what the device that the path names, and another one, are told.
REPORT = {"status": "succeeded"}
AGENTS = {
    "POST /v1/agent/enroll": (201, 201, "$enroll"),  # an enrolment token is asked for, no device's
    "POST /v1/agent/devices/{device_id}/token": (200, 403, None),
    "POST /v1/agent/devices/{device_id}/heartbeat": (200, 403, {}),
    "GET /v1/agent/deployments/{deployment_id}/devices/{device_id}": (200, 403, None),
    "POST /v1/agent/deployments/{deployment_id}/devices/{device_id}/status": (200, 403, REPORT),
}

# Open to everybody: what they tell is public, or signed in the address.
OPEN = {
    "healthz",
    "readyz",
    "metrics",  # from loopback, or with its own token
    "v1/openapi.json",
    "v1/docs",
    "v1/",
    "v1/agent/openapi.json",
    "v1/artifacts/<str:sha256>.apk",
}
