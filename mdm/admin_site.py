"""What the pages of every app share: who asks, read-only records, bounded counts, forms that call the domain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.forms import DateTimeField, DateTimeInput, Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mdm.door import request_id
from mdm.people import Actor
from mdm.problems import Forbidden, NotFound, Problem, Unauthorized

if TYPE_CHECKING:
    BaseAdmin: TypeAlias = admin.ModelAdmin[Any]
else:
    BaseAdmin = admin.ModelAdmin

# Gets what was typed, cleaned; returns the sentence of success, or the answer itself.
CarryOut: TypeAlias = Callable[[Mapping[str, Any]], str | HttpResponse]
COUNTED_TO: Final = 10_000
NO_BREAK: Final = "\N{NO-BREAK SPACE}"


def person(request: HttpRequest) -> Actor:
    """Who is signed in; the views below admin_view let nobody else through."""
    return Actor.person(cast(User, request.user), request_id=request_id(request))


def time_html(moment: datetime | None, missing: str = "never") -> SafeString:
    """An instant for people and machines: absolute, to the second, with its zone."""
    if moment is None:
        return format_html('<span class="nx-quiet">{}</span>', missing)
    local = timezone.localtime(moment)
    day, clock = local.strftime("%-d %b %Y"), f"{local:%H:%M:%S} {local.tzname()}"
    return format_html(
        '<time datetime="{}">{} {}</time>',
        local.isoformat(timespec="seconds"),
        *(part.replace(" ", NO_BREAK) for part in (day, clock)),
    )


def age_words(since: datetime, now: datetime) -> str:
    """How long ago, in the largest unit of which there is at least one: `just now`, `3 min ago`, `2 d ago`."""
    seconds = int((now - since).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def seen_html(moment: datetime | None) -> SafeString:
    """An instant of the past, absolute, with how long ago it was."""
    if moment is None:
        return time_html(None)
    age = age_words(moment, timezone.now())
    return format_html('{} <span class="nx-quiet">{}</span>', time_html(moment), age)


def shown_as(label: str, name: str) -> Any:
    """A column of a model under the words that people know it by; lists with commas between."""

    @admin.display(description=label, ordering=name)
    def value(_: BaseAdmin, row: models.Model) -> Any:
        found = getattr(row, name)
        words = ", ".join(map(str, found)) if isinstance(found, list) else found
        return "–" if words in (None, "") else words

    return value


def time_as(label: str, name: str, *, missing: str = "never", sortable: bool = False) -> Any:
    """A column of instants under the words that people know it by; `missing` stands where there is none."""

    @admin.display(description=label, ordering=name if sortable else None)
    def moment(_: BaseAdmin, row: models.Model) -> SafeString:
        return time_html(getattr(row, name), missing)

    return moment


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than 10,000: beyond that people search, and an exact count costs a scan."""

    @cached_property
    def count(self) -> int:
        rows = cast("models.QuerySet[Any]", self.object_list)
        return rows.order_by()[:COUNTED_TO].count()


class RecordAdmin(BaseAdmin):
    """Rows that people look at and only the domain writes. `in_menu`: its place in the menu, None = not there.
    `none_words`: what the list says while it is empty, and what to do then."""

    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50
    add_words = ""
    none_words = ""
    in_menu: int | None = None
    actions: Sequence[Any] | None = None

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        plural = str(self.opts.verbose_name_plural)
        words = {
            "title": plural[:1].upper() + plural[1:],
            "add_words": self.add_words,
            "none_words": self.none_words,
        }
        return super().changelist_view(request, words | (extra_context or {}))  # type: ignore[return-value]

    def require_view(self, request: HttpRequest) -> None:
        """PermissionDenied for whom may not see these rows; for pages that take the place of Django's own."""
        if not self.has_view_permission(request):
            raise PermissionDenied

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def found(model_admin: BaseAdmin, request: HttpRequest, pk: int) -> Any:
    """The row that this person may see, or Django's 404."""
    row = model_admin.get_object(request, str(pk))
    if row is None:
        raise Http404("There is no such row.")
    return row


class UtcInput(DateTimeInput):
    """The browser's own picker; the stock split widget has inputs without labels."""

    input_type = "datetime-local"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"step": "1", **(attrs or {})}, format="%Y-%m-%dT%H:%M:%S")


class UtcField(DateTimeField):
    """An instant typed in UTC; the label has to say so."""

    widget = UtcInput


def refuse(problem: Problem) -> None:
    """Raises what Django answers with a page of its own, where no form can mend it."""
    if isinstance(problem, Forbidden | Unauthorized):
        raise PermissionDenied(problem.detail) from problem
    if isinstance(problem, NotFound):
        raise Http404(problem.detail) from problem


def add_problem(form: Form, problem: Problem) -> None:
    """What the domain refused, beside the inputs it is about, else above the form."""
    said = {
        name.rpartition("target.")[2].removeprefix("options."): text for name, text in problem.errors.items()
    }
    known = {name: text for name, text in said.items() if name in form.fields}
    for name, text in known.items():
        form.add_error(name, text)
    if not known:
        form.add_error(None, problem.detail)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing a person does on a page of its own: it says what will happen, asks what is needed, does it.

    `shown` makes the answer to a dialog out of the sentence of success; without it the page below is loaded anew.
    """

    title: str
    button: str
    back: str
    permission: str
    carry_out: CarryOut
    lines: Sequence[str] = ()
    form_class: type[Form] = Form
    initial: Mapping[str, Any] = field(default_factory=dict)
    danger: bool = False
    keep: str = "Go back"
    shown: Callable[[HttpRequest, str], HttpResponse] | None = None


def act_page(
    request: HttpRequest, site: admin.AdminSite, act: Act, crumbs: Sequence[tuple[str, str]]
) -> HttpResponse:
    """Shows the form; on POST carries out, and shows what was refused with the status of the refusal."""
    if act.permission and not person(request).may(act.permission):
        raise PermissionDenied(f"Your account lacks the permission {act.permission}.")
    posted = request.method == "POST"
    form = act.form_class(
        request.POST if posted else None,
        request.FILES if posted else None,
        initial=dict(act.initial),
        label_suffix="",
    )
    status = 200
    if posted and form.is_valid():
        try:
            done = act.carry_out(form.cleaned_data)
        except Problem as problem:
            if not _in_dialog(request):
                refuse(problem)
            add_problem(form, problem)
            status = problem.status
        else:
            return _done(request, act, done)
    context = {"title": act.title, "act": act, "form": form, "crumbs": crumbs}
    context["refused"] = status not in (200, 422)  # what was typed wrong can be typed again
    if _in_dialog(request):
        context["in_dialog"] = True
        return HttpResponse(render_to_string("nx/_act_form.html", context, request), status=status)
    return TemplateResponse(request, "nx/act.html", {**site.each_context(request), **context}, status=status)


def _in_dialog(request: HttpRequest) -> bool:
    """Whether a script asks, which shows the answer over the page that the person is on."""
    return bool(request.htmx)  # type: ignore[attr-defined]  # set by the middleware


def _done(request: HttpRequest, act: Act, done: str | HttpResponse) -> HttpResponse:
    if isinstance(done, str):
        if _in_dialog(request) and act.shown:
            return act.shown(request, done)
        messages.success(request, done)
        done = HttpResponseRedirect(act.back)
    if _in_dialog(request) and "Location" in done.headers:
        return HttpResponse(status=204, headers={"HX-Redirect": done.headers["Location"]})
    return done
