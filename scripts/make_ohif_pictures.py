"""Draw docs/ohif_*.png: MONAI Label's own OHIF on phantoms in an Orthanc of their own, with marks at what to press.

python scripts/make_ohif_pictures.py      (after scripts/quickstart.sh; needs .label-venv, Debian's orthanc,
                                           orthanc-dicomweb and chromium; port 8000 must be free)
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import orthanc_server  # noqa: E402
from label_server import running_server  # noqa: E402

PHANTOMS, MODEL = ROOT / "quickstart" / "data" / "unseen" / "images", ROOT / "quickstart" / "models" / "model.pt"
SIZE = {"width": 1240, "height": 600}
COLORS = 128  # in the palette, to keep the pictures small
BROWSER = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
LABELMAP = "window.services.segmentationService.getLabelmapVolume('1')"
DRAWN = f"() => {LABELMAP}.voxelManager.getCompleteScalarDataArray().some(Boolean)"
RING = """([number, x, y, width, height]) => {
  const ring = document.createElement("div"), badge = document.createElement("div");
  ring.className = badge.className = "ring";
  ring.style = `position:fixed;left:${x - 6}px;top:${y - 6}px;width:${width + 12}px;height:${height + 12}px;` +
    "border:3px solid #ff3030;border-radius:12px;z-index:99999;pointer-events:none";
  badge.style = `position:fixed;left:${x - 18}px;top:${y - 20}px;width:24px;height:24px;` +
    "border-radius:12px;background:#ff3030;color:white;font:bold 15px/24px sans-serif;text-align:center;" +
    "z-index:99999;pointer-events:none";
  badge.textContent = number;
  document.body.append(ring, badge);
}"""


def main() -> None:
    secret = {
        "MONAI_LABEL_DICOMWEB_USERNAME": orthanc_server.USER,
        "MONAI_LABEL_DICOMWEB_PASSWORD": orthanc_server.PASSWORD,
    }
    orthanc = orthanc_server.Orthanc()
    try:
        orthanc.upload(path for path in sorted(PHANTOMS.rglob("*")) if path.is_file())
        with (
            tempfile.TemporaryDirectory() as folder,
            sync_playwright() as playwright,
            running_server(orthanc.dicomweb, MODEL, Path(folder), "--port", "8000", **secret) as server,
        ):
            program = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=program, args=BROWSER)
            context = browser.new_context(viewport=SIZE)
            context.route(lambda url: not url.startswith(server.url), lambda route: route.abort())
            draw(context.new_page(), server.url)
            browser.close()
    finally:
        orthanc.stop()


def draw(page: Any, url: str) -> None:
    """Follow the steps of a user, and keep three pictures of them."""
    page.goto(f"{url}/ohif/")
    page.get_by_role("button", name="Confirm and Hide").click()
    study, mode = page.get_by_text("PHANTOM-U001", exact=True), page.get_by_role("button", name="MONAI Label")
    study.first.click()
    page.mouse.move(0, 0)
    mark(page, 1, study.first, mode)
    picture(page, "ohif_study", {"x": 0, "y": 0, "width": SIZE["width"], "height": 470})

    mode.click()
    page.wait_for_function("() => window.cornerstone?.getRenderingEngines()[0]?.getViewports().length === 3")
    page.mouse.click(265, 70)  # collapse the list of studies
    connect, run = page.locator(".settingsTable button"), page.locator("button[title='Run Segmentation']")
    connect.click()
    page.wait_for_function(f"() => {{ try {{ return Boolean({LABELMAP}); }} catch {{ return false; }} }}")
    run.click()
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(8000)  # until the notices are gone
    mark(page, 3, connect, run)
    picture(page, "ohif_run")

    page.locator("label.tab-label", has_text="Active Learning").click()
    page.wait_for_timeout(1000)
    buttons = [page.get_by_role("button", name=name) for name in ("Next Sample", "Update Model")]
    mark(page, 5, *buttons)
    picture(page, "ohif_learn", {"x": SIZE["width"] - 280, "y": 50, "width": 280, "height": 420})


def mark(page: Any, first: int, *what: Any) -> None:
    """Draw a ring around each, numbered from the first."""
    page.wait_for_timeout(1000)
    for number, one in enumerate(what, first):
        box = one.bounding_box()
        page.evaluate(RING, [number, box["x"], box["y"], box["width"], box["height"]])


def picture(page: Any, name: str, clip: dict[str, float] | None = None) -> None:
    """Write docs/NAME.png and take the rings away."""
    shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    shot.quantize(COLORS).save(ROOT / "docs" / f"{name}.png", optimize=True)
    page.evaluate("() => document.querySelectorAll('.ring').forEach((ring) => ring.remove())")


if __name__ == "__main__":
    main()
