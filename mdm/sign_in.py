"""How people sign in: the admin's own form, with guesses counted before a password is looked at."""

import hashlib
from typing import Any, Final, cast

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from mdm import menu, throttle
from mdm.addresses import client_network
from mdm.problems import TooManyAttempts
from mdm.throttle import SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS, SIGN_IN_HERE, Key

NAMED_TO: Final = 16  # hex digits of an account's digest: people mistype passwords into names


def _keys(request: HttpRequest, username: str) -> list[Key]:
    account = hashlib.sha256(username.casefold().encode()).hexdigest()[:NAMED_TO]
    address = client_network(request)
    return [(SIGN_IN_ADDRESS, address), (SIGN_IN_HERE, f"{account} at {address}"), (SIGN_IN_ACCOUNT, account)]


class SignInForm(AdminAuthenticationForm):
    def clean(self) -> dict[str, Any]:
        """TooManyAttempts, with the right password as well: else the limit would tell which one is right."""
        assert self.request is not None, "the login view gives it"
        with throttle.guess(_keys(self.request, self.cleaned_data.get("username") or "")):
            return super().clean()


class OwnPasswordForm(AdminPasswordChangeForm):
    """Who found a session open does not find the password by it."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        with throttle.guess(_keys(self.request, self.user.get_username())):
            old: str = super().clean_old_password()
        return old


class OwnPasswordView(PasswordChangeView):
    form_class = OwnPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}


class FleetAdminSite(AdminSite):
    site_header = site_title = "NexMDM Deployments"
    index_title = "Home"
    site_url = None  # there is nothing but the admin and the API
    empty_value_display = "–"
    login_form = SignInForm

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return super().each_context(request) | {"site_label": settings.SITE_LABEL}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        found = super().get_app_list(request, app_label)
        return found if app_label else menu.of_every_day(found, self._registry)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            return super().login(request, extra_context)
        except TooManyAttempts as problem:
            return _slow_down(request, problem)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context = {**self.each_context(request), **(extra_context or {})}
        done = reverse("admin:password_change_done", current_app=self.name)
        view = OwnPasswordView.as_view(success_url=done, extra_context=context)
        try:
            return cast(TemplateResponse, view(request))
        except TooManyAttempts as problem:
            return _slow_down(request, problem)


def _slow_down(request: HttpRequest, problem: TooManyAttempts) -> TemplateResponse:
    context = {"title": problem.title, "detail": problem.detail}
    answer = TemplateResponse(request, "429.html", context, status=problem.status)
    answer["Retry-After"] = str(problem.retry_after)
    return answer
