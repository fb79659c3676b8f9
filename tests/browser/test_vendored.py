"""What comes from others is what they published: unchanged, with its licence, its version in its path."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "deployments/static/deployments/vendor", ROOT / "tests/browser/vendor")


@pytest.mark.parametrize("folder", FOLDERS, ids=["shipped", "for tests"])
def test_vendored_files_are_what_their_checksums_say_and_no_more(folder: Path) -> None:
    lines = [line.split() for line in (folder / "SHA256SUMS").read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    there = {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    assert there == listed
    assert all((library / "LICENSE").is_file() for library in folder.iterdir() if library.is_dir())


def test_every_file_that_a_template_names_is_there() -> None:
    templates = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
    named = {name for text in templates for name in re.findall(r'{% static "([^"]+)" %}', text)}
    assert len(named) > 5
    assert {name for name in named if finders.find(name) is None} == set()


def test_the_vendored_versions_are_those_that_the_lock_pins() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    pinned = {
        f"{name.removeprefix('node_modules/').removesuffix('.org')}-{package['version']}"
        for name, package in packages.items()
        if name
    }
    assert all(package["integrity"] for name, package in packages.items() if name)
    assert pinned == {path.name for folder in FOLDERS for path in folder.iterdir() if path.is_dir()}
