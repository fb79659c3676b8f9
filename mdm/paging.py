"""Pages of every list: `{items, count, page, page_size}`, and with `after` a cursor that stays fast."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, TypeVar

from django.db.models import Model, QuerySet
from pydantic import BaseModel, BeforeValidator, Field

from mdm.problems import Invalid
from mdm.wire_types import as_id

PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 500
MAX_PAGE: Final = 2**31 - 1

_Row = TypeVar("_Row", bound=Model)
_Found = TypeVar("_Found")


def _or_if_blank(default: int) -> BeforeValidator:
    """`page=` is what a form sends that was left empty."""
    return BeforeValidator(lambda given: default if given == "" else given)


class Paging(BaseModel):
    """Query parameters of a list."""

    page: Annotated[int, Field(ge=1, le=MAX_PAGE), _or_if_blank(1)] = 1
    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE), _or_if_blank(PAGE_SIZE)] = PAGE_SIZE
    after: str | None = Field(default=None, max_length=40, description="A cursor; empty = the first page.")

    @property
    def rows(self) -> slice:
        start = (self.page - 1) * self.page_size
        return slice(start, start + self.page_size)


def cursor(after: str) -> int:
    """The id after which the page begins, 0 for the first. Invalid for what is no cursor."""
    found = as_id(after) if after else 0
    if found is None:
        raise Invalid("This is no cursor of this list.", errors={"after": "Give the next_after of a page."})
    return found


def paged(items: Iterable[Any], count: int, paging: Paging) -> dict[str, Any]:
    return {"items": list(items), "count": count, "page": paging.page, "page_size": paging.page_size}


def page(
    rows: QuerySet[_Row],
    paging: Paging,
    shape: Callable[[_Row], dict[str, Any]],
    *,
    newest_first: bool = False,
) -> dict[str, Any]:
    """A page by number in the order that the rows have, or by cursor in the order of their ids."""
    return page_at_once(rows, paging, lambda found: [shape(row) for row in found], newest_first=newest_first)


def page_at_once(
    rows: QuerySet[_Row],
    paging: Paging,
    shapes: Callable[[list[_Row]], list[dict[str, Any]]],
    *,
    newest_first: bool = False,
) -> dict[str, Any]:
    """The same where what is shown of the rows is read for all of them at once."""
    if paging.after is None:
        return paged(shapes(list(rows[paging.rows])), rows.count(), paging)
    start = cursor(paging.after)
    behind = rows.order_by("-pk" if newest_first else "pk")
    if start:
        behind = behind.filter(pk__lt=start) if newest_first else behind.filter(pk__gt=start)
    items, more = cut(list(behind[: paging.page_size + 1]), paging.page_size)
    return paged(shapes(items), rows.count(), paging) | {"next_after": str(items[-1].pk) if more else None}


def cut(found: Sequence[_Found], page_size: int) -> tuple[list[_Found], bool]:
    """Of one row more than a page holds: the page, and whether another one follows."""
    return list(found[:page_size]), len(found) > page_size
