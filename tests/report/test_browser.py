"""The page in a real browser: pictures load, nothing sticks out, nothing complains."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--enable-logging=stderr", "--allow-file-access-from-files"),
)
WIDTHS = (1280, 400)
# The page forbids scripts, so another page looks at it through frames of both widths.
WRAPPER = """<!doctype html><body><pre id="found"></pre>
{frames}
<script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument, images = [...page.images];
    for (const each of page.querySelectorAll("details")) each.open = true;
    return {{
      width: frame.clientWidth,
      reach: page.documentElement.scrollWidth,
      images: images.length,
      broken: images.filter((image) => !image.complete || image.naturalWidth === 0).length,
      unseen: images.filter((image) => image.getBoundingClientRect().width < 50).length,
    }};
  }});
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def complaints(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in run.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(("which", "least"), [("report", 15), ("benchmark_report", 2)])
def test_pictures_load_and_nothing_sticks_out(
    which: str, least: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report: Path = request.getfixturevalue(which)
    frames = "".join(
        f'<iframe src="{report.as_uri()}" style="width: {width}px; height: 900px; border: 0">'
        "</iframe>"
        for width in WIDTHS
    )
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(WRAPPER.format(frames=frames))
    run = browse(wrapper, tmp_path / "profile", "--dump-dom")
    assert complaints(run) == []
    text = re.search(r'<pre id="found">(.+?)</pre>', run.stdout)
    assert text, run.stdout[:500]
    found: list[dict[str, int]] = json.loads(unescape(text[1]))
    assert [each["width"] for each in found] == list(WIDTHS)
    for each in found:
        assert each["images"] >= least
        assert each["broken"] == each["unseen"] == 0
        assert each["reach"] <= each["width"]


def test_a_complaint_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('here')</script>")
    assert len(complaints(browse(page, tmp_path / "profile", "--dump-dom"))) == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_is_painted(report: Path, tmp_path: Path, dark: bool) -> None:
    target = tmp_path / "page.png"
    run = browse(
        report,
        tmp_path / "profile",
        f"--screenshot={target}",
        "--window-size=1280,2600",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
    )
    assert complaints(run) == []
    pixels = np.asarray(Image.open(target).convert("RGB")).astype(int)
    corner = pixels[:20, :20].mean()
    assert corner < 40 if dark else corner > 250
    for name, colour in {"viridis": (68, 1, 84), "the method's blue": (0, 114, 178)}.items():
        assert near(pixels, colour) > 50, f"nothing is painted in {name}"


def near(pixels: Any, colour: tuple[int, int, int]) -> int:
    """How many pixels are of about that colour."""
    return int((np.abs(pixels - np.array(colour)).max(axis=-1) < 16).sum())
