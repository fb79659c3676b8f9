"""A real browser against a live server: Debian's Chromium, nothing swallowed from its console."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

# Playwright's sync API runs an event loop in the thread of the test, which Django takes for async code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

PATIENCE = 60_000  # milliseconds; a busy machine is no failure
expect.set_options(timeout=PATIENCE)

AXE = (Path(__file__).parent / "vendor/axe-core-4.14.1/axe.min.js").read_text()
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
# Of these rules the ones whose verdict another colour scheme may change.
OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Ends with this folder's tests: the loop in the thread would be in the way of others that run one."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def tolerated() -> list[str]:
    """Parts of messages that a test brings about on purpose: the browser notes every answer that is a refusal."""
    return []


@pytest.fixture
def page(browser: Browser, live_server: Any, tolerated: list[str]) -> Iterator[Page]:
    """A signed-out page; the test fails on any message of console, page or Content-Security-Policy, and on
    any request that leaves the server."""
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    found: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: _note_message(message, found))
    opened.on("pageerror", lambda error: found.append(str(error)))
    opened.on("request", lambda request: _note_foreign(request.url, live_server.url, found))
    yield opened
    context.close()
    assert [text for text in found if not any(part in text for part in tolerated)] == []


def _note_message(message: ConsoleMessage, found: list[str]) -> None:
    of_page = message.page is not None and message.location["url"] == message.page.url
    refused = of_page and message.text.startswith("Failed to load resource")
    if message.type in ("error", "warning") and not refused:  # a form that answers 409 or 422 is as meant
        found.append(f"{message.type}: {message.text}")


def _note_foreign(address: str, home: str, found: list[str]) -> None:
    if not address.startswith((home, "data:")):
        found.append(f"left for {address}")


def violations(page: Page, rules: dict[str, Any] = RULES) -> list[str]:
    """What axe finds on the page as it is; through the debugger, since the page itself may not eval."""
    session = page.context.new_cdp_session(page)
    there = session.send("Runtime.evaluate", {"expression": "'axe' in window", "returnByValue": True})
    if not there["result"]["value"]:
        session.send("Runtime.evaluate", {"expression": AXE})
    shape = "v => v.id + ': ' + v.nodes.map(n => n.html).join(' | ')"
    options = f"{{runOnly: {rules}, resultTypes: ['violations'], preload: false}}"
    run = f"axe.run(document, {options}).then(r => r.violations.map({shape}))"
    answer = session.send(
        "Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True}
    )
    session.detach()
    return list(answer["result"]["value"])


def in_both_schemes(page: Page) -> tuple[list[str], list[str]]:
    """The same in light, and what is different in dark: the page that is open, whatever is open on it."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    light = violations(page)
    page.emulate_media(color_scheme="dark")
    return light, violations(page, OF_COLOURS)


def sideways(page: Page) -> int:
    """How many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
