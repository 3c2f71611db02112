"""Make docs/images/report.png: the first screens of a report, as the browser shows them.

It shows the report that `make run` left in outputs/report, from its title to the end of the first plot.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests"))

from chromium import browser  # noqa: E402

WIDTH = 1120
SCALE = 1.5
"""Pixels per pixel of the page, for sharp letters."""
BOTTOM = "document.querySelector('figure').getBoundingClientRect().bottom + scrollY"


def main():
    report = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "outputs" / "report" / "report.html"
    if not report.is_file():
        sys.exit(f"{report}: not found. `make run` makes it.")
    picture = PROJECT / "docs" / "images" / "report.png"
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        page.resize(WIDTH, 900)
        page.open(report.resolve().as_uri())
        if not page.wait_for("document.readyState === 'complete' && document.querySelector('th button') !== null"):
            sys.exit(f"{report}: the browser does not show it within a minute.")
        page.evaluate("document.documentElement.style.overflow = 'hidden'")  # no bar that scrolls
        page.resize(WIDTH, int(page.evaluate(BOTTOM)) + 2, scale=SCALE)
        page.screenshot(picture)
    with Image.open(picture) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(picture, optimize=True)
        print(f"{picture}: {image.width} x {image.height}, {picture.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
