"""The QR code that enrols a device, read back by a real reader: from the API's answer and off the page."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from devices import provisioning
from devices.models import EnrollmentToken
from mdm import secret_tokens
from tests.browser import qr_reader
from tests.browser.conftest import sideways, violations
from tests.browser.test_story import sign_in
from tests.calls import as_user
from tests.deployments.pages import someone
from tests.factories import member

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _agent_to_download(settings: Any) -> None:
    settings.AGENT_DOWNLOAD_URL = "https://downloads.example.com/fleet/nexmdm-agent-release-1.0.121.apk"
    settings.AGENT_SIGNER_SHA256 = "ab" * 32


def test_the_code_in_the_answer_says_what_provisioning_says(browser: Browser) -> None:
    reply = as_user(member("fleet admin"))("POST", "/v1/enrollment-tokens", {"groups": ["Zürich"]})
    (text,) = qr_reader.read(browser, reply.body["qr_svg"].encode(), "image/svg+xml")
    assert json.loads(text) == reply.body["provisioning"]
    assert set(reply.body["provisioning"]) == {
        provisioning.COMPONENT, provisioning.DOWNLOAD, provisioning.SIGNER, provisioning.EXTRAS,
    }  # fmt: skip


def test_a_spoilt_code_is_not_read(browser: Browser) -> None:
    """The reader does not see what is not there."""
    drawing = provisioning.qr_svg(provisioning.payload("nxe_x")).replace('fill="#000"', 'fill="#fff"')
    assert qr_reader.read(browser, drawing.encode(), "image/svg+xml") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_code_on_the_page_enrols_with_the_token_beside_it(
    page: Page, live_server: Any, browser: Browser, scheme: Any
) -> None:
    sign_in(page, live_server, someone("fleet admin"))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 700})
    page.goto("/admin/devices/enrollmenttoken/add/")
    page.get_by_role("button", name="Issue token").click()
    drawn = page.get_by_role("img", name="QR code for the setup of a device")
    (text,) = qr_reader.read(browser, drawn.screenshot(), "image/png")
    token = json.loads(text)[provisioning.EXTRAS]["enrollment_token"]
    assert page.locator(".nx-secret").inner_text() == token
    assert EnrollmentToken.objects.get().digest == secret_tokens.digest(token)
    assert (violations(page), max(0, sideways(page))) == ([], 0)
