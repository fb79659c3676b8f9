"""What goes wrong, said once: every door shapes these as RFC 9457 problem+json or as a form error."""

from collections.abc import Mapping
from typing import Any, ClassVar


class Problem(Exception):
    """A refusal with an HTTP status. `slug` is the machine's word (wire `type`), `detail` the person's."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request could not be carried out"
    slug: str = "invalid"

    def __init__(
        self,
        detail: str,
        *,
        slug: str | None = None,
        errors: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.slug = slug or self.slug
        self.errors = dict(errors or {})
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return body | self.extra


class Unauthorized(Problem):
    """`given`: the token that was refused, for who counts guesses, where it did not come as a bearer token."""

    status = 401
    title = "Not signed in"
    slug = "unauthorized"
    given: str = ""


class Forbidden(Problem):
    status = 403
    title = "Not allowed"
    slug = "forbidden"


class NotFound(Problem):
    status = 404
    title = "Not found"
    slug = "not_found"


class Conflict(Problem):
    status = 409
    title = "Not possible in the present state"
    slug = "conflict"


class Invalid(Problem):
    status = 422
    title = "Invalid input"
    slug = "invalid"


class TooManyAttempts(Problem):
    """`retry_after`: seconds."""

    status = 429
    title = "Too many attempts"
    slug = "too_many_attempts"

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"There were too many failed attempts. Try again in {retry_after} seconds.")
        self.retry_after = retry_after
