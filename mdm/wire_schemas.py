"""Schemas of answers that several doors share. They document; the domain shapes the answers itself."""

from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from mdm.wire_types import examples


class Item(BaseModel):
    """An answer, exactly as documented: tests read answers back through these."""

    model_config = ConfigDict(extra="forbid")


_Shape = TypeVar("_Shape", bound=BaseModel)


class Items(Item, Generic[_Shape]):
    """A page of a list; `next_after` only where `after` was given."""

    items: list[_Shape]
    count: int
    page: int
    page_size: int
    next_after: str | None = None


class ProblemOut(BaseModel):
    """application/problem+json."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=examples(
            {
                "type": "invalid",
                "title": "Invalid input",
                "status": 422,
                "detail": "options.rate: Must be greater than or equal to 1.",
                "errors": {"options.rate": "Must be greater than or equal to 1."},
            }
        ),
    )

    type: str
    title: str
    status: int
    detail: str
    errors: dict[str, str] | None = None


# What every route of operators may answer, for OpenAPI.
PROBLEMS: Final[dict[int, Any]] = dict.fromkeys((401, 403, 404, 409, 422, 429, 503), ProblemOut)
