"""Who would be updated, by the very code that plans; nothing is sent."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from apks.models import ApkVersion
from deployments.engine import eligibility, install_times, planner, spread
from deployments.engine.eligibility import SERVER_ZONE, Terms
from deployments.models import Deployment, DryRun, DryRunDevice
from deployments.operations import approval, way_back
from deployments.rules import forecast
from deployments.rules.options import DeploymentOptions, problems
from deployments.rules.states import LIVE, REASONS
from devices.selection import Target
from mdm import paging
from mdm.paging import Paging
from mdm.people import Actor
from mdm.problems import Invalid, NotFound

MAY_LOOK: Final = "deployments.dry_run_deployment"
VALID_FOR: Final = timedelta(minutes=30)
SHOWN: Final = 200

# How long an install of this package took lately, by the ledger.
_INSTALLED: Final = """SELECT DISTINCT (d.current_versions -> %s ->> 'version_code')::bigint
    FROM dry_run_device r JOIN device d ON d.id = r.device_id WHERE r.dry_run_id = %s"""


def make(
    actor: Actor,
    *,
    apk_version_id: int,
    target: Target,
    options: DeploymentOptions,
    form: str = "",
) -> dict[str, Any]:
    """The answer of `POST /v1/deployments/dry-run`; kept for 30 minutes.

    `form`: its earlier ones that nothing was started from go, those whose answer nobody waited for as well.
    """
    actor.require(MAY_LOOK)
    version = deployable_version(apk_version_id)
    now = timezone.now()
    check(options, target.type, now)
    chosen = planner.chosen_by(target, version.apk.package_name)
    with transaction.atomic():
        DryRun.objects.filter(expires_at__lt=now - VALID_FOR, deployments__isnull=True).delete()
        if form:
            _forget(actor, form)
        run = DryRun.objects.create(
            apk_version=version,
            created_by=actor.user,
            target=target.to_json(),
            options=options.to_json(),
            form=form,
            expires_at=now + VALID_FOR,
        )
        terms = Terms(version, options, now, closing=eligibility.closing(options, now))
        planner.classify(run.pk, terms, chosen)
        answer = _counts(run)
        if answer["resolved"] == 0:
            raise nobody()
        largest = spread.largest_group(options, run.pk)
        answer |= _outlook(version, options, answer, now, largest)
        answer |= {"rollback": _rollback(run, version, options)}
        DryRun.objects.filter(pk=run.pk).update(resolved=answer["resolved"], result=answer)
    return answer | {"devices": [_device(row) for row in devices_of(run)[:SHOWN]]}


def _forget(actor: Actor, form: str) -> None:
    """Under their locks, which a start from one takes as well."""
    for run in DryRun.objects.select_for_update().filter(created_by=actor.user, form=form).order_by("id"):
        if not run.deployments.exists():
            run.delete()


def deployable_version(apk_version_id: int) -> ApkVersion:
    """NotFound; Invalid where its package is not on the allowlist."""
    version = ApkVersion.objects.select_related("apk").filter(pk=apk_version_id).first()
    if version is None:
        raise NotFound("There is no such version.")
    if not version.apk.managed:
        raise Invalid(
            f"{version.apk.package_name} is not on the allowlist of managed packages; put it there first.",
            slug="not_managed",
            errors={"apk_version_id": "The package is not managed."},
        )
    return version


def check(options: DeploymentOptions, target_type: Literal["fleet", "selection"], now: datetime) -> None:
    """Invalid where options are right one by one and wrong together, or for this target, or by now."""
    if found := problems(options, target_type=target_type, now=now):
        raise Invalid(
            " ".join(found.values()),
            errors={f"options.{name}": sentence for name, sentence in found.items()},
        )


def nobody() -> Invalid:
    """The refusal of a target that matches no device."""
    return Invalid(
        "The target matches no device.", slug="no_devices", errors={"target": "It matches no device."}
    )


def _counts(run: DryRun) -> dict[str, Any]:
    rows = list(
        DryRunDevice.objects.filter(dry_run=run)
        .values("classification", "reason")
        .annotate(count=Count("id"))
        .order_by()
    )
    order = {code: index for index, code in enumerate(REASONS)}
    rows.sort(key=lambda row: order.get(row["reason"], -1))

    def of(name: str) -> list[dict[str, Any]]:
        return [
            {"reason": row["reason"], "count": row["count"]} for row in rows if row["classification"] == name
        ]

    return {
        "dry_run_id": run.pk,
        "resolved": sum(row["count"] for row in rows),
        "will_update": sum(row["count"] for row in rows if row["classification"] == "will_update"),
        "excluded": of("excluded"),
        "later": of("later"),
    }


def _outlook(
    version: ApkVersion,
    options: DeploymentOptions,
    counts: dict[str, Any],
    now: datetime,
    largest_group: tuple[str, int] | None,
) -> dict[str, Any]:
    outlook = forecast.finish(
        now,
        forecast.Plan(
            devices=counts["will_update"],
            later=sum(row["count"] for row in counts["later"]),
            rate=options.rate,
            concurrency=options.concurrency,
            median_install_sec=install_times.median_sec(version.apk_id),
            window=options.maintenance_window(),
            zone=SERVER_ZONE,
            canary=options.canary,
            canary_timeout_sec=options.canary_timeout_min * 60,
            canary_soak_sec=options.canary_soak_min * 60,
            health_within_sec=None if options.health_within_min is None else options.health_within_min * 60,
            beat_sec=settings.CHECKIN_INTERVAL_SEC,
            max_per_group=options.max_per_group,
            largest_group=largest_group,
        ),
    )
    said = asdict(outlook)
    finish = said.pop("finish")
    return {
        "needs_approval": approval.too_many(counts["resolved"]),
        "forecast": {"finish_iso": finish.isoformat() if finish else None, **said},
        "live_deployments": [
            {"id": pk, "version_name": name, "status": status}
            for pk, name, status in Deployment.objects.filter(apk_id=version.apk_id, status__in=LIVE)
            .order_by("id")
            .values_list("id", "to_version__version_name", "status")
        ],
    }


def _rollback(run: DryRun, version: ApkVersion, options: DeploymentOptions) -> dict[str, Any]:
    """Which way back there would be should the canary or the failure limit trip."""
    with connection.cursor() as cursor:
        cursor.execute(_INSTALLED, [version.apk.package_name, run.pk])
        way = way_back.back_from(version, {row[0] for row in cursor.fetchall() if row[0] is not None})
    switched_off = "" if options.allow_rollback else "Rollback is not allowed by the options."
    return way_back.shape(way, switched_off or way.why_not)


def find(dry_run_id: int, now: datetime, *, lock: bool = False) -> DryRun:
    """NotFound where there is none, or where it has expired. `lock`: nobody forgets it meanwhile."""
    runs = DryRun.objects.select_related("apk_version").filter(pk=dry_run_id, expires_at__gt=now)
    run = (runs.select_for_update(of=("self",)) if lock else runs).first()
    if run is None:
        raise NotFound("There is no such dry run; it may have expired. Make a new one.")
    return run


def devices_page(actor: Actor, dry_run_id: int, wanted: Paging) -> dict[str, Any]:
    """A page of its devices with the class and the reason of each. Forbidden, NotFound."""
    actor.require(MAY_LOOK)
    return paging.page(devices_of(find(dry_run_id, timezone.now())), wanted, _device)


def devices_of(run: DryRun, classification: str = "", reason: str = "") -> QuerySet[DryRunDevice]:
    """Its devices in one order; what is empty does not narrow."""
    rows = DryRunDevice.objects.filter(dry_run=run).select_related("device").order_by("id")
    if classification:
        rows = rows.filter(classification=classification)
    return rows.filter(reason=reason) if reason else rows


def _device(row: DryRunDevice) -> dict[str, Any]:
    return {
        "device_id": row.device_id,
        "alias": row.device.alias,
        "class": row.classification,
        "reason": row.reason or None,
        "observed": row.observed or None,
        "required": row.required or None,
    }
