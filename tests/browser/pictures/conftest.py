"""Pictures of pages for people to look at: `make screenshots`. A file take_*.py beside this one is all it needs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

FOLDER = Path(os.environ.get("SCREENSHOTS", "var/screenshots"))
Take = Callable[[str], None]

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 320, "height": 700}


@pytest.fixture
def take(page: Page) -> Take:
    """`take("details-held")` writes the page as it is: light, dark, in forced colours, and 320 px wide."""
    FOLDER.mkdir(parents=True, exist_ok=True)

    def all_looks(name: str) -> None:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        _write(page, f"{name}-light")
        page.emulate_media(color_scheme="dark")
        _write(page, f"{name}-dark")
        page.emulate_media(color_scheme="light", forced_colors="active")
        _write(page, f"{name}-forced")
        page.emulate_media(color_scheme="light", forced_colors="none")
        page.set_viewport_size(NARROW)
        _write(page, f"{name}-narrow")
        page.set_viewport_size(WIDE)

    return all_looks


def _write(page: Page, name: str) -> None:
    """The whole page; an open dialog is as tall as the window, so the window is enough."""
    page.screenshot(path=FOLDER / f"{name}.png", full_page=page.locator("dialog[open]").count() == 0)
