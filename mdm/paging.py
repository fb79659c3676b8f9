"""Pages of every list: `{items, count, page, page_size}`, and with `after` a cursor that stays fast."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, TypeVar

from django.db.models import Model, QuerySet
from pydantic import BaseModel, Field

from mdm.problems import Invalid
from mdm.wire_types import as_id

PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 500
MAX_PAGE: Final = 2**31 - 1

_Row = TypeVar("_Row", bound=Model)


class Paging(BaseModel):
    """Query parameters of a list."""

    page: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 1
    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] = PAGE_SIZE

    @property
    def rows(self) -> slice:
        start = (self.page - 1) * self.page_size
        return slice(start, start + self.page_size)


class KeysetPaging(Paging):
    after: str | None = Field(default=None, max_length=40, description="A cursor; empty = the first page.")


def cursor(after: str) -> int:
    """The id after which the page begins, 0 for the first. Invalid for what is no cursor."""
    found = as_id(after) if after else 0
    if found is None:
        raise Invalid("This is no cursor of this list.", errors={"after": "Give the next_after of a page."})
    return found


def paged(items: Iterable[Any], count: int, paging: Paging) -> dict[str, Any]:
    return {"items": list(items), "count": count, "page": paging.page, "page_size": paging.page_size}


def page(rows: QuerySet[_Row], paging: Paging, shape: Callable[[_Row], dict[str, Any]]) -> dict[str, Any]:
    """A page by number, in the order that the rows have."""
    return paged((shape(row) for row in rows[paging.rows]), rows.count(), paging)


def page_by_id(
    rows: QuerySet[_Row], paging: KeysetPaging, shape: Callable[[_Row], dict[str, Any]]
) -> dict[str, Any]:
    """A page by number in the order that the rows have, or by cursor in the order of their ids."""
    if paging.after is None:
        return page(rows, paging, shape)
    found = list(rows.order_by("pk").filter(pk__gt=cursor(paging.after))[: paging.page_size + 1])
    items = found[: paging.page_size]
    next_after = str(items[-1].pk) if len(found) > paging.page_size else None
    return paged((shape(row) for row in items), rows.count(), paging) | {"next_after": next_after}
