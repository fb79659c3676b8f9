"""Types of the wire contract that several doors share: ids, integers that fit the database, times, texts."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt
from pydantic_core import PydanticCustomError

MAX_ID: Final = 2**63 - 1
_ID_TEXT: Final = re.compile(r"[1-9][0-9]{0,18}")
_YEARS: Final = range(1970, 9000)


def as_id(value: object) -> int | None:
    """An id as it may stand in a path or a body, None for what can be nobody's (a UUID, 0, too large, …)."""
    if isinstance(value, str) and _ID_TEXT.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ID:
        return value
    return None


def _id_or_refusal(value: object) -> int:
    found = as_id(value)
    if found is None:
        raise PydanticCustomError("unknown_id", "There is no such id.")
    return found


def _written_as_text(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise PydanticCustomError("datetime_type", "Must be a time in ISO 8601 with offset.")
    return value


def _within_reach(value: datetime) -> datetime:
    """Years that survive a change of zone in Python and in PostgreSQL."""
    if value.year not in _YEARS:
        raise PydanticCustomError("datetime_range", "Must be between 1970 and 8999.")
    return value


# In a path: what is no id is answered 404 like an unknown one (see mdm.api).
PathId = Annotated[int, BeforeValidator(_id_or_refusal), Field(ge=1, le=MAX_ID)]
PathText = Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")]
# In a body: an id that may be anybody's; the domain says 404 or 422 for what it does not find.
AnyId = StrictInt | Annotated[str, Field(strict=True, max_length=100)]
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31 - 1)]
Flag = Annotated[bool, Field(strict=True)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written_as_text), AfterValidator(_within_reach)]


class Strict(BaseModel):
    """A request of operators: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid")


def listed(values: list[str] | None) -> list[str]:
    """Texts without blanks, each once, in their order; null counts as none."""
    return list(dict.fromkeys(text.strip() for text in values or () if text.strip()))


def split(values: list[str]) -> list[str]:
    """`tags=a,b` and repeated `tags=` mean the same."""
    return listed([part for value in values for part in value.split(",")])


def examples(*bodies: dict[str, Any]) -> dict[str, Any]:
    """For `json_schema_extra`: examples in OpenAPI."""
    return {"examples": list(bodies)}
