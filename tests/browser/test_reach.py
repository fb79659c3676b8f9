"""Every page that a superuser can reach by links, found by following them: no fault that axe finds, in either
colour scheme, and none wider than a narrow phone. One page of each kind is looked at."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import Resolver404, resolve
from playwright.sync_api import Page

from tests.browser.conftest import in_both_schemes, sideways, violations
from tests.browser.test_story import mixed, sign_in
from tests.mdm.doors import admin_doors, rows

pytestmark = pytest.mark.django_db(transaction=True)

LEADS_AWAY = {"logout", "deployments_deployment_export", "jsi18n"}


def _kind(path: str) -> str | None:
    """The name of the page at this path; None where there is no page, or none to be looked at."""
    if path.endswith(".csv"):
        return None
    try:
        found = resolve(path)
    except Resolver404:
        return None
    name = (
        f"{found.url_name or found.route} {found.kwargs.get('app_label', '')}".strip()
    )  # each part has its page
    return None if name in LEADS_AWAY or not found.route.startswith("admin/") else name


def _links(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('a[href]')].filter(a => a.origin == location.origin).map(a => a.pathname)"
    )
    return list(dict.fromkeys(found))


def _look(page: Page, path: str) -> tuple[list[str], list[str], int]:
    page.goto(path)
    return *in_both_schemes(page), max(0, sideways(page))


def test_every_page_that_links_lead_to_is_without_fault(page: Page, live_server: Any) -> None:
    mixed()
    rows()
    sign_in(page, live_server, User.objects.create_superuser("boss", password="pw"))
    page.set_viewport_size({"width": 320, "height": 700})
    waiting, seen, faults = ["/admin/"], {"index"}, {}
    while waiting:
        path = waiting.pop(0)
        found = _look(page, path)
        if found != ([], [], 0):
            faults[path] = found
        for link in _links(page):
            kind = _kind(link)
            if kind is not None and kind not in seen:
                seen.add(kind)
                waiting.append(link)
    assert faults == {}
    lists = {door.name for door in admin_doors() if door.name.endswith("_changelist")}
    assert lists <= seen, "every list is reached"
    assert {
        "auth_user_change",
        "auth_user_password_change",
        "auth_group_delete",
        "devices_device_edit",
    } <= seen


def test_the_page_that_slows_a_sign_in_is_without_fault(page: Page, live_server: Any) -> None:
    for _ in range(11):
        page.goto("/admin/")
        page.get_by_label("Username").fill("nobody")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Too many attempts").wait_for()
    assert (violations(page), max(0, sideways(page))) == ([], 0)
