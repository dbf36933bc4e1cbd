"""The page in a real browser without a network: Debian's chromium, headless. Skipped where there is none."""

import json

from thaw.report.report_files import write_report

from .browser import browser, needs_browser
from .made_content import make_content
from .test_report_files import HOSTILE

# Scrolls through the page until every chart has been in view.
DRAWN = """(() => {
  const left = [...document.querySelectorAll('.chart:not([data-drawn])')];
  left[0]?.scrollIntoView({block: 'center'});
  return left.length === 0;
})()"""
SEEN = """JSON.stringify({
  charts: document.querySelectorAll('.chart').length,
  drawn: document.querySelectorAll('.chart[data-drawn=yes] :is(svg, canvas).marks').length,
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  overflowing: [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .chart, pre')
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 100)),
  clipped: [...document.querySelectorAll('.chart svg.marks > g')].filter(e => e.getBoundingClientRect().right
    > e.closest('.chart').getBoundingClientRect().right + 2).map(e => e.closest('figure').id),
  unnamed: [...document.images].filter(image => !image.alt.trim()).length,
  dangling: [...document.querySelectorAll('nav a')].filter(a => !document.getElementById(a.hash.slice(1))).length,
  alerts: document.querySelectorAll('main img[onerror], main script:not([type])').length,
  paper: getComputedStyle(document.body).backgroundColor,
  chartPaper: document.querySelector('.chart svg.marks').style.backgroundColor,
  requests: performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length,
})"""


@needs_browser
def test_all_charts_are_drawn_and_nothing_overflows_on_a_screen_and_on_a_phone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    page = write_report(make_content(HOSTILE), folder, "short")[0]
    with browser(folder / "profile") as tab:
        for width, dark in ((1280, False), (390, True)):
            tab.open(page, width, dark)
            tab.wait_for(DRAWN)
            seen = json.loads(tab.run(SEEN))
            case = f"{width} pixels"
            assert seen["charts"] == seen["drawn"] == 13, case
            assert (seen["wide"], seen["overflowing"], seen["clipped"]) == (0, [], []), case
            assert (seen["unnamed"], seen["dangling"], seen["alerts"], seen["requests"]) == (0, 0, 0, 0), case
            paper = "rgb(22, 24, 27)" if dark else "rgb(255, 255, 255)"
            assert (seen["paper"], seen["chartPaper"]) == (paper, paper), case
            assert tab.console == [], case
