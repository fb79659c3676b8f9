"""What the routes of operators share: who asks, and how an answer is written."""

import json
import re
import uuid
from typing import Any, Final, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse

from mdm.people import Actor

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def actor_of(request: HttpRequest) -> Actor:
    """Whom the API's authentication found."""
    return cast(Actor, request.auth)  # type: ignore[attr-defined]  # set by ninja


def request_id(request: HttpRequest) -> str:
    """The caller's `X-Request-Id` where it is a plain word, else a new one; the audit log keeps it."""
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def answer(body: Any, status: int = 200) -> HttpResponse:
    """JSON as it is, times in ISO 8601: the domain has shaped it, so no schema looks at it again."""
    content = json.dumps(body, cls=DjangoJSONEncoder, ensure_ascii=False)
    return HttpResponse(content, status=status, content_type="application/json")


def unkept(response: HttpResponse) -> HttpResponse:
    """Holds a secret that is shown once: no cache on its way may keep it."""
    response["Cache-Control"] = "no-store"
    return response
