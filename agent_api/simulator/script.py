"""Which devices of a fleet behave badly, and how. JSON, or TOML where the file's name ends in .toml."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from agent_api.simulator.behaviour import Behaviour, Knobs, Share
from agent_api.simulator.pacing import seeded
from agent_api.simulator.shops import DeviceSpec

MAX_SCRIPT_BYTES = 1_000_000
Model = TypeVar("Model", bound=Knobs)


class ScriptError(Exception):
    """The script cannot be used; the text is one sentence that says where and why."""


class Match(Knobs):
    """Shell patterns (`*`, `?`); all that are given must fit. `number` counts devices from 1."""

    number: Annotated[int, Field(ge=1)] | None = None
    serial: str | None = None
    alias: str | None = None
    model: str | None = None
    profile: str | None = None

    def fits(self, spec: DeviceSpec) -> bool:
        if self.number is not None and self.number != spec.number:
            return False
        model = spec.handset.model
        pairs = ((self.serial, spec.serial), (self.alias, spec.alias), (self.model, model))
        return all(p is None or fnmatchcase(v, p) for p, v in (*pairs, (self.profile, spec.profile)))


class Group(Knobs):
    """Some devices of the fleet and what they do."""

    name: str
    match: Match | None = None
    count: Annotated[int, Field(ge=1)] | None = None
    share: Share | None = None
    behaviour: dict[str, Any]

    @model_validator(mode="after")
    def selects(self) -> "Group":
        if self.count is not None and self.share is not None:
            raise ValueError("give count or share, not both")
        if self.match is None and self.count is None and self.share is None:
            raise ValueError("give one of match, count and share")
        return self

    def pick(self, free: Sequence[DeviceSpec], fleet_size: int, rng: Random) -> list[DeviceSpec]:
        fitting = [spec for spec in free if self.match is None or self.match.fits(spec)]
        limit = self.count if self.share is None else round(self.share * fleet_size)
        return fitting if limit is None else rng.sample(fitting, min(limit, len(fitting)))


class Script(Knobs):
    """`defaults` hold for every device; a group's behaviour is laid over them, knob by knob."""

    defaults: dict[str, Any] = {}
    groups: list[Group] = []

    def cast(self, specs: Sequence[DeviceSpec], seed: int = 1) -> list[DeviceSpec]:
        """Gives each device its role. A device belongs to the first group that takes it."""
        rng = seeded("cast", seed)
        roles: dict[int, Behaviour] = {}
        for group in self.groups:
            free = [spec for spec in specs if spec.number not in roles]
            behaviour = Behaviour.model_validate(self.defaults | group.behaviour)
            roles |= {spec.number: behaviour for spec in group.pick(free, len(specs), rng)}
        default = Behaviour.model_validate(self.defaults)
        return [replace(spec, behaviour=roles.get(spec.number, default)) for spec in specs]


def demo_script() -> Script:
    """The few misfits of the demo."""
    return parse_script((files("agent_api.simulator") / "demo.toml").read_text(), "demo.toml")


def load_script(path: Path) -> Script:
    """Raises ScriptError where the file cannot be read or says something that no device can do."""
    try:
        if path.stat().st_size > MAX_SCRIPT_BYTES:
            raise ScriptError(f"{path.name}: the script is larger than {MAX_SCRIPT_BYTES} bytes.")
        return parse_script(path.read_text(), path.name)
    except OSError as error:
        raise ScriptError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ScriptError(f"{path.name}: is not UTF-8 text.") from error


def parse_script(text: str, name: str) -> Script:
    """`name` decides the format and begins the sentence of every error."""
    try:
        content = tomllib.loads(text) if name.endswith(".toml") else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ScriptError(f"{name}: cannot be parsed ({error}).") from error
    script = _checked(Script, content, name)
    _checked(Behaviour, script.defaults, f"{name}: defaults")
    for group in script.groups:
        _checked(Behaviour, script.defaults | group.behaviour, f"{name}: group {group.name!r}")
    return script


def _checked(model: type[Model], content: object, where: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ScriptError(_sentence(error, where)) from None


def _sentence(error: ValidationError, where: str) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    reason = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no knob {place!r}."
    return f"{where}: {place}: {reason}." if place else f"{where}: {reason}."
