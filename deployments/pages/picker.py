"""Choosing devices by hand among many: a page of those that match, with a box each.

A form sends the boxes of one page only. What was shown, and how it was meant, comes with them, so that boxes
become ids (`ticked`: of those wanted, `matching`: of those left out) and pages can be turned without losing any.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import F
from django.http import QueryDict

from deployments.pages.deploy_form import MATCHING, TICKED, DeployForm, ids_in
from devices.models import Device
from devices.selection import active
from mdm.wire_types import as_id

ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class Row:
    """`seen`: its last heartbeat, None = never."""

    device: Device
    installed: str
    seen: datetime | None
    ticked: bool


@dataclass(frozen=True, slots=True)
class Picker:
    """One page of the `count` that match. `chosen`: how many ids the boxes stand for so far."""

    rows: list[Row]
    count: int
    page: int
    mode: str
    chosen: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.count // ROWS))

    @property
    def shown(self) -> str:
        return ",".join(str(row.device.pk) for row in self.rows)


def folded(posted: QueryDict) -> QueryDict:
    """The form with the boxes turned into ids, and what the buttons beside the list do to it."""
    data = posted.copy()
    shown = set(ids_in(data.get("shown", "")))
    picked = {pick for pick in data.getlist("pick") if as_id(pick) is not None}
    if data.get("list_mode") == TICKED:
        _put(data, "device_ids", shown - picked, picked)
    elif data.get("list_mode") == MATCHING:
        _put(data, "exclude_ids", picked, shown - picked)
    if data.get("act") == "select_all":
        data["target_type"], data["exclude_ids"] = MATCHING, ""
    elif data.get("act") == "clear":
        data["target_type"], data["device_ids"], data["exclude_ids"] = TICKED, "", ""
    return data


def _put(data: QueryDict, name: str, without: set[Any], more: set[Any]) -> None:
    """Keeps the order in which ids came, so that the same choice stays the same text."""
    kept = [part for part in ids_in(data.get(name, "")) if part not in without]
    data[name] = ", ".join(str(part) for part in dict.fromkeys([*kept, *sorted(more)]))


def picker(form: DeployForm, package: str, page: int) -> Picker:
    """The devices that match the form's filters. The form has been cleaned; filters that are wrong count not."""
    mode = str(form["target_type"].value())
    matched = active(form.valid_filters(), package)
    count = matched.count()
    page = min(max(page, 1), max(1, -(-count // ROWS)))
    matched = matched.annotate(seen=F("heartbeat__received_at")).order_by("pk")
    named = set(ids_in(form["device_ids" if mode == TICKED else "exclude_ids"].value() or ""))
    return Picker(
        rows=[
            Row(
                device=device,
                installed=_installed(device, package),
                seen=device.seen,
                ticked=(str(device.pk) in named) == (mode == TICKED),
            )
            for device in matched[(page - 1) * ROWS : page * ROWS]
        ],
        count=count,
        page=page,
        mode=mode,
        chosen=len(named),
    )


def _installed(device: Device, package: str) -> str:
    app = device.current_versions.get(package) or {}
    return str(app.get("version_name") or app.get("version_code") or "not installed")
