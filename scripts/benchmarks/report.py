"""How large a study's page is, how long writing it takes, and how soon it shows its first picture.

python scripts/benchmarks/report.py

The study is a noisy volume of 512 x 512 x 300 with ten classes, like a CT. The browser is headless Chromium with WebGL2
in software; a workstation with a graphics card draws sooner.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright
from results_page import machine, markdown_table, write_section

from monai_vggunet.outputs import study_record
from monai_vggunet.report.pages import study as study_report
from monai_vggunet.report.pages.display_view import DisplayView, display_view
from monai_vggunet.report.pages.niivue import NIIVUE_VERSION, find_niivue

SHAPE, SPACING_MM, N_CLASSES, ROUNDS = (512, 512, 300), (0.7, 0.7, 1.5), 10, 3
NOISE_HU = 15.0
LIMIT_MS = 300_000
WHOLE_MB = 1000.0  # a limit that no study meets: full resolution


def main() -> None:
    if find_niivue() is None or shutil.which("chromium") is None:
        sys.exit("needs NiiVue (scripts/fetch_niivue.sh) and Debian's chromium")
    view, record = study()
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for name, limit_mb, with_niivue in (
            ("default: image of at most 30 MB", study_report.LIMIT_MB, True),
            ("full resolution", WHOLE_MB, False),
        ):
            started = time.monotonic()
            page = study_report.write_study_report(folder, record, view, limit_mb=limit_mb)
            written_sec = time.monotonic() - started
            shown = [opened(browser, page, with_niivue) for _ in range(ROUNDS)]
            sizes = [page.stat().st_size / 1e6, (Path(folder) / study_report.SHEET_NAME).stat().st_size / 1e6]
            plain_sec = statistics.median(one[0] for one in shown)
            niivue = f"{statistics.median(one[1] for one in shown):.1f}" if with_niivue else "not tried"
            shape = " × ".join(map(str, shown[0][2]))
            figures = [*sizes, written_sec, plain_sec]
            rows.append([name, shape, *(f"{figure:.1f}" for figure in figures), niivue])
            print(rows[-1], flush=True)
        version = browser.version
        browser.close()
    head = ["", "voxels shown", "page, MB", "sheet, MB", "writing, s", "first picture, s", "NiiVue's, s"]
    text = f"""## The page of a study

{" × ".join(map(str, SHAPE))} voxels, {N_CLASSES} classes, noise of {NOISE_HU:g} HU (a synthetic CT; making it, and
reading a source, are not counted). Times in the browser run from the start of navigation to a drawn frame, from
`file://` with the network off: first the plain view draws, then NiiVue takes its place. Chromium {version} with WebGL2
by software (a graphics card is quicker; without one NiiVue shows a large study only when asked to), NiiVue
{NIIVUE_VERSION}, median of {ROUNDS}; {machine()}.
Other work ran on the machine at the time (load {os.getloadavg()[1]:.1f}).

{markdown_table(head, rows)}
"""
    write_section("report", text)


def study() -> tuple[DisplayView, dict]:
    """Return a body with ten balls in it."""
    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in SHAPE)]
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 + 0 * z < 1
    image = np.where(body, 40, -1000).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    for number in range(1, N_CLASSES + 1):
        center = rng.uniform([-0.5, -0.35, -0.7], [0.5, 0.35, 0.7])
        inside = (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2 < 0.15**2
        labels[inside], image[inside] = number, 40 + 12 * number
    image += rng.standard_normal(SHAPE, np.float32) * NOISE_HU
    affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    names = ["background", *(f"class {n}" for n in range(1, N_CLASSES + 1))]
    record = study_record("benchmark", {"modality": "CT"}, labels, affine, names, {}, 0.0)
    return display_view(labels, affine, np.rint(image)[None], modality="CT"), record


def opened(browser: Browser, page: Path, with_niivue: bool) -> tuple[float, float, list[int]]:
    """Return seconds to the first picture and to NiiVue's, and the voxels shown."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, offline=True)
    tab = context.new_page()
    tab.goto(page.as_uri() + ("#niivue" if with_niivue else ""), timeout=LIMIT_MS)
    tab.evaluate("window.report.ready")
    plain_ms, niivue_ms, shape = tab.evaluate("[report.first_picture_ms, report.niivue_ms || 0, report.shape]")
    context.close()
    return plain_ms / 1000, niivue_ms / 1000, shape


if __name__ == "__main__":
    main()
