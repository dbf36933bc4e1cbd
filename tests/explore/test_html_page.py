"""The page, in a real browser without a network: Debian's chromium, headless. Skipped where there is none."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="needs a browser: apt-get install chromium")

# Put into a copy of the page: what a reader would see, as JSON. The page itself has no script.
PROBE = """<pre id="probe"></pre><script>
const narrow = width => {  // a window is never narrower than 500 pixels; the page asks for no window's width
  document.body.style.width = width + 'px';
  const wanted = document.body.scrollWidth - width;
  document.body.style.width = '';
  return wanted;
};
const images = [...document.images];
addEventListener('load', () => {
  const ids = new Set([...document.querySelectorAll('[id]')].map(element => element.id));
  document.getElementById('probe').textContent = JSON.stringify({
    images: images.length,
    broken: images.filter(image => !image.naturalWidth).length,
    unnamed: images.filter(image => !image.alt.trim()).length,
    dangling: [...document.querySelectorAll('nav a')].filter(a => !ids.has(a.hash.slice(1))).length,
    headings: [...document.querySelectorAll('h1, h2')].map(h => h.textContent),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    phone: narrow(360),
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
    paper: getComputedStyle(document.body).backgroundColor,
    bold: document.querySelectorAll('b').length,
    requests: performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length,
  });
});
</script>"""


def chromium(page: Path, *arguments: str) -> str:
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=10000", *arguments, page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def rendered(explored, folder: Path, *arguments: str) -> dict:
    text = (explored.folder / "explore.html").read_text(encoding="utf-8")
    copy = folder / "copy.html"
    copy.write_text(
        text.replace("style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'")
        .replace(' loading="lazy"', "")  # then the page is loaded when all pictures are
        .replace("</body>", f"{PROBE}</body>")
    )
    dumped = chromium(copy, "--dump-dom", *arguments)
    return json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', dumped, re.DOTALL)[1]))


@needs_browser
def test_the_page_shows_all_pictures_without_a_network(explored, tmp_path):
    page = rendered(explored, tmp_path, "--window-size=1200,900")
    assert page["images"] > 70
    assert (page["broken"], page["unnamed"], page["dangling"], page["requests"]) == (0, 0, 0, 0)
    assert page["headings"][0] == str(explored.data)
    assert {"Findings", "Exact duplicates", "Likely wrong labels", "Contact sheets"} <= set(page["headings"])
    assert page["bold"] == 0, "a file's name is text"
    assert (page["wide"], page["phone"]) == (0, 0), "nobody has to scroll sideways"


@needs_browser
@pytest.mark.parametrize(("scheme", "paper"), [("1", "rgb(255, 255, 255)"), ("0", "rgb(22, 24, 27)")])
def test_the_page_follows_the_readers_choice_of_dark_and_light(explored, tmp_path, scheme, paper):
    page = rendered(explored, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")
    assert page["dark"] == (scheme == "0")
    assert page["paper"] == paper


@needs_browser
def test_a_screenshot_shows_the_pictures(explored, tmp_path):
    page = tmp_path / "page.html"
    shutil.copy(explored.folder / "explore.html", page)
    chromium(page, f"--screenshot={tmp_path / 'shot.png'}", "--window-size=1200,1600")
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    green = (pixels[..., 1] > 150) & (pixels[..., 0] < 110)
    assert min(red.sum(), green.sum()) > 2000  # apples and limes


def test_the_page_names_nothing_outside_itself(explored):
    text = (explored.folder / "explore.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,|#|file:///)', text)
