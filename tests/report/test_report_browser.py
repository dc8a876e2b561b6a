"""Pages in a real browser, where there is one: no error, no request, sounds that play, nothing wider than a phone, ink on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, browser

from plait.report import run_report
from plait.report.palette import PALETTE

pytestmark = pytest.mark.skipif(
    browser() is None, reason="no browser: set PLAIT_BROWSER to a Chromium, or put chromium on the PATH"
)

DURATIONS = """Promise.all([...document.querySelectorAll("audio")].map(audio => new Promise(done => {
  const tell = () => done(audio.duration || 0);
  audio.readyState ? tell() : (audio.onloadedmetadata = tell, audio.onerror = () => done(-1));
})))"""
TOO_WIDE = """[...document.querySelectorAll("body *")].filter(one =>
  !one.closest(".scroll") && !one.closest("svg") && getComputedStyle(one).position != "absolute"
  && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser without a network."""
    program = browser()
    assert program
    found = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(params=["comparison", "run"])
def page(request: pytest.FixtureRequest) -> Path:
    """A page of each kind."""
    if request.param == "comparison":
        return request.getfixturevalue("compared")
    measured = request.getfixturevalue("measured")
    path = measured / "report.html"
    return path if path.exists() else run_report(measured)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_opens_without_an_error_or_a_request_and_fits(page: Path, width: int, dark: bool, chromium: Chromium):
    chromium.asked.clear()
    chromium.said.clear()
    chromium.open(page, width=width, dark=dark)
    durations = chromium.ask(DURATIONS)
    assert durations
    assert min(durations) > 0.1
    assert chromium.ask("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    assert chromium.ask(TOO_WIDE) == []
    assert chromium.said == []
    assert chromium.asked == [page.as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_plots_take_the_colours_of_the_page(page: Path, dark: bool, chromium: Chromium):
    chromium.open(page, width=1200, dark=dark)
    found = set(chromium.ask("[...document.querySelectorAll('svg text')].map(one => getComputedStyle(one).fill)"))
    ink = PALETTE["ink"][dark]
    assert f"rgb({', '.join(str(int(ink[k : k + 2], 16)) for k in (1, 3, 5))})" in found
    assert chromium.ask("getComputedStyle(document.querySelector('.plot svg')).display") == "block"


def test_a_phone_gets_the_narrow_plots(compared: Path, chromium: Chromium):
    shown = "[...document.querySelectorAll('.plot .{}')].filter(one => one.offsetParent).length"
    for width, kind, other in ((360, "narrow", "wide"), (1200, "wide", "narrow")):
        chromium.open(compared, width=width)
        assert chromium.ask(shown.format(kind)) > 0
        assert chromium.ask(shown.format(other)) == 0


def test_it_prints(page: Path, chromium: Chromium):
    chromium.open(page, width=1200, dark=True)
    paper = chromium.pdf()
    assert paper.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 2
