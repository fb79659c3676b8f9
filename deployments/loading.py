"""Rows of several tables in one prepared statement, made into models without composing the SELECT each time.

Every claim reads its deployment, under the lock again, and every open page twice a second: composing the same
SELECT took the ORM two thirds of the CPU that a heartbeat with a command costs.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from django.db import connection, models

from apks.models import Apk, ApkVersion
from deployments.models import Deployment, FleetSwitch
from mdm import prepared
from mdm.problems import NotFound

# Table alias -> model, in the order of the columns.
Parts = Mapping[str, type[models.Model]]


def columns(parts: Parts) -> str:
    """What to select so that `made` finds it."""
    return ", ".join(
        f"{alias}.{field.column}" for alias, model in parts.items() for field in model._meta.concrete_fields
    )


_PARTS: Final[Parts] = {"p": Deployment, "v": ApkVersion, "k": Apk, "s": FleetSwitch}
_LOAD: Final = f"""SELECT {columns(_PARTS)} FROM deployment p JOIN apk_version v ON v.id = p.to_version_id
    JOIN apk k ON k.id = p.apk_id CROSS JOIN fleet_switch s WHERE p.id = %s"""


def load(deployment_id: int) -> tuple[Deployment, FleetSwitch]:
    """`to_version`, its `apk` and `apk` are there, too. NotFound."""
    found = made(_PARTS, row(_LOAD, [deployment_id]))
    deployment = cast(Deployment, found["p"])
    deployment.to_version, deployment.apk = cast(ApkVersion, found["v"]), cast(Apk, found["k"])
    deployment.to_version.apk = deployment.apk
    return deployment, cast(FleetSwitch, found["s"])


def row(sql: str, params: Any) -> list[Any]:
    """The one row of a deployment. NotFound."""
    with prepared.cursor() as cursor:
        cursor.execute(sql, params)
        values = cursor.fetchone()
    if values is None:
        raise NotFound("There is no such deployment.")
    return list(values)


def made(parts: Parts, values: list[Any]) -> dict[str, models.Model | None]:
    """Takes the parts off the front; None where an outer join found nothing."""
    return {alias: _made(model, values) for alias, model in parts.items()}


def _made(model: type[models.Model], values: list[Any]) -> models.Model | None:
    fields = model._meta.concrete_fields
    mine = [_converted(field, value) for field, value in zip(fields, values, strict=False)]
    del values[: len(fields)]
    found = model.from_db(connection.alias, [field.attname for field in fields], mine)
    return None if found.pk is None else found


def _converted(field: Any, value: Any) -> Any:
    """jsonb comes as text."""
    return field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
