"""The menu of the admin: what people look for every day, most urgent first. Everything else is one press further, on
the page of its part."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

LAST: Final = 1_000  # of a list that has no place of its own


def of_every_day(parts: Sequence[Mapping[str, Any]], registry: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """Django's list of apps with only those models whose admin has a place (`in_menu`), in the order of places."""

    def place(entry: Mapping[str, Any]) -> int:
        found: int | None = getattr(registry[entry["model"]], "in_menu", None)
        return LAST if found is None else found

    arranged = [
        {**part, "models": sorted((entry for entry in part["models"] if place(entry) < LAST), key=place)}
        for part in parts
    ]
    return sorted((part for part in arranged if part["models"]), key=lambda part: place(part["models"][0]))
