"""Which devices are meant: the target of a deployment, and the filters of the device list."""

from typing import Annotated, Any, Final, Literal

from django.db import connection
from django.db.models import BigIntegerField, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast
from pydantic import AfterValidator, ConfigDict, Field

from devices.models import Device, DeviceStatus
from mdm.problems import Invalid
from mdm.wire_types import AnyId, Int32, Strict, as_id, examples, listed

MAX_IDS: Final = 200_000
MAX_LISTED: Final = 1_000
NAMED_UNKNOWN: Final = 20

_LABELS: Final = {
    "tags": "SELECT DISTINCT unnest(tags) FROM device WHERE status = 'active'",
    "groups": "SELECT DISTINCT unnest(groups) FROM device WHERE status = 'active'",
    "models": "SELECT DISTINCT model FROM device WHERE status = 'active'",
}


def _absent_if_blank(values: list[str] | None) -> list[str] | None:
    return listed(values) or None


def _canonical_ids(values: list[int | str] | None) -> list[int | str] | None:
    """An id is the same as a number and as its digits; what is none stays, to be named as unknown."""
    return list(dict.fromkeys(as_id(value) or value for value in values or ())) or None


Texts = Annotated[
    list[Annotated[str, Field(max_length=200)]] | None,
    Field(max_length=MAX_LISTED),
    AfterValidator(_absent_if_blank),
]
Ids = Annotated[list[AnyId] | None, Field(max_length=MAX_IDS), AfterValidator(_canonical_ids)]
Query = Annotated[
    str | None, Field(max_length=200), AfterValidator(lambda text: (text or "").strip() or None)
]


class Filters(Strict):
    """Within `tags`, `groups` or `models` any matches, between the kinds all must. Empty kinds are absent."""

    tags: Texts = None
    groups: Texts = None
    query: Query = Field(default=None, description="Part of alias, serial or model, in any case.")
    models: Texts = None
    installed_below: Annotated[Int32, Field(ge=1)] | None = Field(
        default=None, description="Devices whose known version code of the package is lower."
    )


def _absent_if_all_absent(filters: Filters | None) -> Filters | None:
    return filters if filters and filters.model_dump(exclude_none=True) else None


class Target(Strict):
    """`fleet` = every active device; `selection` = devices named or matched by filters, less the excluded.

    What is empty, blank or null is None after reading, so that two ways of saying the same thing are equal.
    """

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"type": "fleet"},
            {"type": "selection", "device_ids": [17], "filters": {"groups": ["shop-1"]}, "exclude_ids": []},
        )
    )

    type: Literal["fleet", "selection"]
    device_ids: Ids = None
    filters: Annotated[Filters | None, AfterValidator(_absent_if_all_absent)] = None
    exclude_ids: Ids = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept: without what is absent."""
        return self.model_dump(exclude_none=True)


def resolve(target: Target, package_name: str) -> QuerySet[Device]:
    """The devices meant, unordered, each once; fit to be the SELECT of an INSERT.

    A retired device named by its id is among them. Invalid where the target names nothing, or unknown ids.
    """
    _check_shape(target)
    excluded = _known_ids(target.exclude_ids, "target.exclude_ids")
    if target.type == "fleet":
        found = Device.objects.filter(status=DeviceStatus.ACTIVE)
    else:
        found = _selected(target, package_name)
    return found.exclude(_has_id(excluded)) if excluded else found


def _check_shape(target: Target) -> None:
    named = bool(target.device_ids or target.filters)
    if target.type == "fleet" and named:
        raise Invalid(
            "A fleet target takes neither device ids nor filters.",
            errors={"target": "Choose type selection, or leave device_ids and filters empty."},
        )
    if target.type == "selection" and not named:
        raise Invalid(
            "The selection names no device: give device ids or a filter.",
            errors={"target": "Give device_ids, or at least one kind of filter."},
        )


def _selected(target: Target, package_name: str) -> QuerySet[Device]:
    ids = _known_ids(target.device_ids, "target.device_ids")
    meant = _has_id(ids) if ids else Q()
    if target.filters:
        meant |= Q(pk__in=active(target.filters, package_name).values("pk"))
    return Device.objects.filter(meant)


def active(filters: Filters | None, package_name: str) -> QuerySet[Device]:
    """The active devices that match the filters; without any, all of them."""
    given = filters.model_dump(exclude_none=True) if filters else {}
    below = given.pop("installed_below", None)
    matched = Device.objects.filter(_matching(**given), status=DeviceStatus.ACTIVE)
    if below is not None:
        matched = matched.alias(installed=_installed_code(package_name)).filter(installed__lt=below)
    return matched


def labels(kind: str) -> list[str]:
    """Tags, groups or models that active devices have."""
    with connection.cursor() as cursor:
        cursor.execute(_LABELS[kind])
        return [row[0] for row in cursor.fetchall()]


def matching(
    *,
    tags: list[str] | None = None,
    groups: list[str] | None = None,
    query: str = "",
    status: str = "",
) -> QuerySet[Device]:
    """The device list under its filters; what is empty is absent."""
    devices = Device.objects.filter(_matching(tags=listed(tags), groups=listed(groups), query=query.strip()))
    return devices.filter(status=status) if status else devices


def _matching(
    *,
    tags: list[str] | None = None,
    groups: list[str] | None = None,
    query: str = "",
    models: list[str] | None = None,
) -> Q:
    found = Q()
    if tags:
        found &= Q(tags__overlap=tags)
    if groups:
        found &= Q(groups__overlap=groups)
    if query:
        found &= Q(alias__icontains=query) | Q(serial__icontains=query) | Q(model__icontains=query)
    if models:
        found &= Q(model__in=models)
    return found


def _has_id(ids: list[int]) -> Q:
    """One array as one parameter, however many ids."""
    return Q(pk__in=RawSQL("SELECT unnest(%s::bigint[])", [ids]))


def _installed_code(package_name: str) -> Cast:
    code = KeyTextTransform("version_code", KeyTransform(package_name, "current_versions"))
    return Cast(code, BigIntegerField())


def _known_ids(given: list[int | str] | None, field: str) -> list[int]:
    """The ids as integers, each once. Invalid, with the list, where some are unknown."""
    if not given:
        return []
    ids = {value: as_id(value) for value in dict.fromkeys(given)}
    known = _existing([number for number in ids.values() if number is not None])
    unknown = [value for value, number in ids.items() if number not in known]
    if unknown:
        raise _unknown(unknown, field)
    return sorted(known)


def _existing(ids: list[int]) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM device WHERE id = ANY(%s::bigint[])", [ids])
        return {row[0] for row in cursor.fetchall()}


def _unknown(ids: list[int | str], field: str) -> Invalid:
    named = ", ".join(str(value) for value in ids[:NAMED_UNKNOWN])
    more = f" and {len(ids) - NAMED_UNKNOWN} more" if len(ids) > NAMED_UNKNOWN else ""
    return Invalid(
        f"There is no device with the id {named}{more}.",
        slug="unknown_devices",
        errors={field: f"Unknown: {named}{more}."},
        extra={"unknown_ids": ids[:MAX_LISTED]},
    )
