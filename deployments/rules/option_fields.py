"""What a form of the options is built from: one entry per input, read off the options schema."""

from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deployments.rules.option_parts import PostInstall, RestartIntent, Retry
from deployments.rules.options import DeploymentOptions

Kind: TypeAlias = Literal["integer", "decimal", "boolean", "text", "json", "window"]

_PARTS: Final[dict[str, type[BaseModel]]] = {
    "retry": Retry,
    "post_install": PostInstall,
    "post_install.restart_intent": RestartIntent,
}
_KINDS: Final[dict[Any, Kind]] = {int: "integer", float: "decimal", bool: "boolean", str: "text"}
_KINDS_BY_NAME: Final[dict[str, Kind]] = {"window": "window", "post_install.restart_intent.extras": "json"}


@dataclass(frozen=True, slots=True)
class OptionField:
    """One input. `name` is the option's path ("retry.max"), `group` the part of the dialog it belongs to."""

    name: str
    kind: Kind
    label: str
    unit: str
    help: str
    group: str
    default: Any
    minimum: int | None
    maximum: int | None
    nullable: bool


def _fields(model: type[BaseModel], prefix: str = "") -> list[OptionField]:
    found = []
    for name, info in model.model_fields.items():
        path = prefix + name
        if path in _PARTS:
            found += _fields(_PARTS[path], f"{path}.")
        else:
            found.append(_field(path, info))
    return found


def _field(path: str, info: FieldInfo) -> OptionField:
    extra = _extra(info)
    default = None if info.is_required() else info.default
    return OptionField(
        name=path,
        kind=_KINDS_BY_NAME.get(path) or _KINDS[_plain_type(info)],
        label=info.title or path,
        unit=extra.get("unit", ""),
        help=info.description or "",
        group=extra["group"],
        default=default,
        minimum=next((_bound(rule) for rule in info.metadata if isinstance(rule, Ge | Gt)), None),
        maximum=next((_bound(rule) for rule in info.metadata if isinstance(rule, Le)), None),
        nullable=default is None,
    )


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _plain_type(info: FieldInfo) -> Any:
    """Of `int | None` and of `Annotated[float, …] | None` the type itself."""
    part = next((part for part in get_args(info.annotation) if part is not NoneType), info.annotation)
    return get_args(part)[0] if get_origin(part) is Annotated else part


def _bound(rule: Ge | Gt | Le) -> Any:
    return rule.ge if isinstance(rule, Ge) else rule.gt if isinstance(rule, Gt) else rule.le


FIELDS: Final = tuple(_fields(DeploymentOptions))
