"""The dashboard's colours: every text has a contrast of 4.5 or more on every ground that it stands on (WCAG 2.2 AA)."""

import re

import pytest

from tests.places import ROOT

STYLE = (ROOT / "verifier" / "server" / "dashboard" / "style.css").read_text(encoding="utf-8")
BLOCK = re.compile(r":root \{(.*?)\}", re.DOTALL)
COLOUR = re.compile(r"--([\w-]+): #([0-9a-f]{3,6});")
TONES = ("safe", "suspicious", "dangerous", "stale", "log", "operation", "inconclusive")
LEAST = 4.5


def colours(block: str) -> dict[str, tuple[float, ...]]:
    found = {}
    for name, digits in COLOUR.findall(block):
        full = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
        found[name] = tuple(int(full[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return found


LIGHT, DARK = (colours(block) for block in BLOCK.findall(STYLE))


def luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_has_the_contrast_that_the_standard_gives() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)


@pytest.mark.parametrize("scheme", [LIGHT, LIGHT | DARK], ids=["light", "dark"])
def test_text_can_be_read_on_its_ground(scheme: dict[str, tuple[float, ...]]) -> None:
    grounds = ("ground", "raised")
    pairs = [(text, ground) for text in ("text", "quiet", "link", *TONES) for ground in grounds]
    pairs += [(tone, f"{tone}-ground") for tone in TONES]
    pairs += [("text", f"{tone}-ground") for tone in TONES]
    low = {pair: round(found, 2) for pair in pairs if (found := contrast(scheme[pair[0]], scheme[pair[1]])) < LEAST}
    assert low == {}


def test_dark_colours_are_those_of_the_light_scheme_anew() -> None:
    assert DARK.keys() == LIGHT.keys()
