"""The colours of the five groups: strong enough before either background, and apart for who sees fewer colours."""

import re
from itertools import combinations
from math import dist
from pathlib import Path
from typing import Final

import pytest

CSS: Final = Path(__file__).resolve().parents[2] / "deployments/static/deployments/nx.css"
GROUPS: Final = ("succeeded", "in-progress", "queued", "failed", "skipped")  # as they stand side by side
BACKGROUNDS: Final = {"light": "#ffffff", "dark": "#121212"}  # of the admin
PANELS: Final = {"light": "#f8f8f8", "dark": "#212121"}
LEAST_CONTRAST: Final = 3.0
LEAST_DISTANCE: Final = 15.0

Colour = tuple[float, float, float]

# Machado, Oliveira, Fernandes (2009), severity 1.0, on linear RGB.
SIMULATIONS: Final[dict[str, tuple[Colour, Colour, Colour]]] = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def palette(scheme: str) -> dict[str, str]:
    """Name -> colour of the theme that a person has chosen; the one that follows the system has to be the same."""
    css = CSS.read_text()
    blocks = [css.partition(f'html[data-theme="{scheme}"]')[2].partition("}")[0]]
    if scheme == "dark":
        blocks.append(css.partition('html[data-theme="auto"]')[2].partition("}")[0])
    found = [dict(re.findall(r"--nx-([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks]
    assert all(colours == found[0] for colours in found)
    return {name: found[0][name] for name in GROUPS}


def linear(colour: str) -> Colour:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return tuple(
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)
    )  # type: ignore[return-value]


def contrast(one: str, other: str) -> float:
    """As WCAG has it."""
    light = [
        0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (linear(one), linear(other))
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)


def seen(colour: str, simulation: str) -> Colour:
    """CIE L*a*b* of the colour as such eyes see it."""
    source = linear(colour)
    red, green, blue = (
        min(1.0, max(0.0, sum(weight * part for weight, part in zip(row, source, strict=True))))
        for row in SIMULATIONS[simulation]
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return (116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_group_stands_out_from_its_background(scheme: str) -> None:
    for name, colour in palette(scheme).items():
        for background in (BACKGROUNDS[scheme], PANELS[scheme]):
            assert contrast(colour, background) >= LEAST_CONTRAST, (name, background)


@pytest.mark.parametrize("simulation", SIMULATIONS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_two_groups_look_alike(scheme: str, simulation: str) -> None:
    colours = palette(scheme)
    for one, other in combinations(colours, 2):
        apart = dist(seen(colours[one], simulation), seen(colours[other], simulation))
        assert apart >= LEAST_DISTANCE, (one, other, round(apart, 1))


def test_what_looks_alike_is_found() -> None:
    """Red and green that are told apart by hue alone are one colour to some."""
    pair = ("#a05030", "#007030")
    assert dist(*(seen(colour, "all colours") for colour in pair)) > LEAST_DISTANCE
    assert dist(*(seen(colour, "protanopia") for colour in pair)) < LEAST_DISTANCE
    assert contrast("#ffffff", "#ffffff") == 1
    assert round(contrast("#000000", "#ffffff"), 3) == 21
