"""Pages in a real browser, the network off: nothing is asked for, and what is drawn lies where it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantoms import affine_of, label_array
from report_phantoms import ct_image, write_result

from monai_vggunet.outputs.class_colors import class_color
from monai_vggunet.report.pages.display_view import display_view
from monai_vggunet.report.pages.niivue import find_niivue
from monai_vggunet.report.pages.study import write_study_report

pytestmark = pytest.mark.browser

SHAPE, SPACING_MM = (24, 20, 10), (0.7, 1.3, 3.0)
# The colors of the canvas under places in mm, and where those are: read at once, before the browser swaps buffers.
PIXELS_AT = """(places) => {
  const view = window.report.view, nv = view.nv, gl = nv.gl;
  view.setLayout("axial");
  view.setOpacity(1);
  nv.setCrosshairWidth(0);
  return places.map((mm) => {
    view.goTo(mm);
    nv.drawScene();
    const [x, y] = nv.frac2canvasPos(nv.mm2frac(mm)), out = new Uint8Array(4);
    gl.readPixels(Math.round(x), gl.canvas.height - Math.round(y), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
    return [[...out].slice(0, 3), x / gl.canvas.width, y / gl.canvas.height];
  });
}"""
PLAIN_PIXEL_AT = """([mm, name]) => {
  const view = window.report.view;
  view.setOpacity(1);
  view.goTo(mm);
  const pane = view.panes.find((one) => one.name === name), [nx, ny] = [pane.canvas.width, pane.canvas.height];
  const x = nx - 1 - view.at[pane.across], y = ny - 1 - view.at[pane.up];
  return [[...pane.canvas.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3), x / nx, y / ny];
}"""


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1100, "height": 900}, offline=True)
    page = context.new_page()
    page.requested, page.errors = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda line: page.errors.append(line.text) if line.type == "error" else None)
    page.on("dialog", lambda dialog: page.errors.append(dialog.message))
    yield page
    context.close()


def phantom(affine: np.ndarray) -> np.ndarray:
    """A label whose class 1 lies at the patient's right front foot, class 2 elsewhere, not symmetric in any way."""
    labels = np.zeros(SHAPE, np.uint8)
    center = affine @ [*(np.array(SHAPE) / 2), 1]
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3] - center[:3]
    labels[(world[..., 0] > 1) & (world[..., 1] > 1) & (world[..., 2] < -1)] = 1
    labels[(world[..., 0] < -2) & (world[..., 1] < -2)] = 2
    return labels


def write(folder: Path, labels: np.ndarray, affine: np.ndarray, **changes: Any) -> Path:
    record = write_result(folder, labels, affine, **changes)
    return write_study_report(folder, record, display_view(labels, affine, ct_image(labels), modality="CT"))


def show(page: Any, file: Path) -> None:
    page.goto(file.as_uri())
    page.evaluate("window.report.ready")
    assert page.evaluate("window.report.failure") is None
    assert page.errors == []
    assert [url for url in page.requested if not url.startswith(("data:", "blob:"))] == [file.as_uri()]


def in_mm(affine: np.ndarray, voxel: np.ndarray) -> list[float]:
    return (affine @ [*voxel, 1.0])[:3].tolist()


def some_voxels(labels: np.ndarray) -> list[np.ndarray]:
    """Voxels of every class that lie well inside of it, so that rounding to a screen pixel decides nothing."""
    chosen = []
    for number in (0, 1, 2):
        inside = [
            v
            for v in np.argwhere(labels == number)
            if all(0 < n < s - 1 for n, s in zip(v, labels.shape))
            and (labels[tuple(slice(n - 1, n + 2) for n in v)] == number).all()
        ]
        chosen += [inside[k] for k in np.linspace(0, len(inside) - 1, 4).astype(int)]
    return chosen


needs_niivue = pytest.mark.skipif(find_niivue() is None, reason="NiiVue was not fetched (scripts/fetch_niivue.sh)")
AFFINES = {
    "oblique": affine_of("oblique", SPACING_MM),
    "flipped": affine_of("axial", SPACING_MM) @ np.diag([-1, 1, 1, 1]),
    "sagittal": affine_of("sagittal", SPACING_MM),
}


@needs_niivue
@pytest.mark.parametrize("grid", AFFINES)
def test_the_overlay_under_a_place_in_mm_is_the_mask_there(page: Any, tmp_path: Path, grid: str) -> None:
    affine = AFFINES[grid]
    labels = phantom(affine)
    show(page, write(tmp_path / "case_1", labels, affine))
    places = [in_mm(affine, voxel) for voxel in np.argwhere(np.ones(SHAPE))]
    found = page.evaluate(
        """(places) => { const v = window.report.view.nv.volumes[1];
        return places.map((mm) => v.getValue(...v.mm2vox(mm))); }""",
        places,
    )
    np.testing.assert_array_equal(np.array(found).reshape(SHAPE), labels)
    voxels = some_voxels(labels)
    middle, *drawn = page.evaluate(PIXELS_AT, [in_mm(affine, np.array(SHAPE) / 2), *(in_mm(affine, v) for v in voxels)])
    for voxel, (color, across, down) in zip(voxels, drawn):
        number = int(labels[tuple(voxel)])
        if number == 0:
            assert np.ptp(color) <= 3, "the image itself is gray"
            continue
        assert np.abs(np.array(color) - class_color(number)).max() <= 3, (voxel, number)
        # class 1 lies at the patient's right front, class 2 at the left back: right is at the left, front at the top
        assert (across < middle[1], down < middle[2]) == (number == 1, number == 1)


@needs_niivue
def test_classes_can_be_hidden_and_windows_changed(page: Any, tmp_path: Path) -> None:
    affine = AFFINES["oblique"]
    labels = phantom(affine)
    show(page, write(tmp_path / "case_1", labels, affine))
    inside = next(v for v in some_voxels(labels) if labels[tuple(v)] == 1)
    at = [in_mm(affine, inside)]
    assert np.ptp(page.evaluate(PIXELS_AT, at)[0][0]) > 50
    page.uncheck('[data-class="1"]')
    assert np.ptp(page.evaluate(PIXELS_AT, at)[0][0]) <= 3
    assert "liver" in page.inner_text("#position"), "hidden, not gone"
    before = page.evaluate(PIXELS_AT, at)[0][0][0]
    page.select_option("#window", "bone")
    assert page.evaluate(PIXELS_AT, at)[0][0][0] != before


@pytest.mark.parametrize("why", ["no NiiVue", "no WebGL2"])
def test_the_plain_viewer_shows_the_same(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    affine = AFFINES["flipped"]
    labels = phantom(affine)
    if why == "no NiiVue":
        monkeypatch.setattr("monai_vggunet.report.pages.study.find_niivue", lambda: None)
    elif find_niivue() is None:
        pytest.skip("NiiVue was not fetched (scripts/fetch_niivue.sh)")
    else:
        page.add_init_script(
            "const own = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = "
            "function (kind, ...rest) { return kind === 'webgl2' ? null : own.call(this, kind, ...rest); };"
        )
    file = write(tmp_path / "case_1", labels, affine)
    assert ("niivue.Niivue" in file.read_text()) == (why == "no WebGL2")
    show(page, file)
    note = page.inner_text("#viewer-note")
    assert ("--fetch-viewer" in note, "no WebGL2" in note) == (why == "no NiiVue", why == "no WebGL2")
    for voxel in some_voxels(labels):
        number = int(labels[tuple(voxel)])
        color, across, down = page.evaluate(PLAIN_PIXEL_AT, [in_mm(affine, voxel), "axial"])
        assert tuple(color) == class_color(number) if number else np.ptp(color) == 0
        if number:
            assert (across < 0.5, down < 0.5) == (number == 1, number == 1)
        assert ("liver" if number == 1 else "spleen" if number == 2 else "no class") in page.inner_text("#position")
    page.select_option("#layout", "coronal")
    assert page.locator(".plain figure:visible").count() == 1


@pytest.mark.parametrize("shape", [(24, 20, 1), (1, 20, 24)])
def test_one_slice_is_drawn(page: Any, tmp_path: Path, shape: tuple[int, int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(0, max(1, n // 2)) for n in shape)] = 1
    show(page, write(tmp_path / "case_1", labels, affine_of("axial", SPACING_MM)))
    assert "liver" in page.inner_text("#position")


def test_an_empty_mask_and_a_missing_image_are_drawn(page: Any, tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    record = write_result(tmp_path / "case_1", labels)
    view = display_view(labels, affine_of())
    show(page, write_study_report(tmp_path / "case_1", record, view))
    assert "shown alone" in page.inner_text("#notes")
    assert "empty result" in page.inner_text("#flags")
    assert "no class" in page.inner_text("#position")


def test_a_picture_is_upright_and_has_no_patient_axes(page: Any, tmp_path: Path) -> None:
    labels = np.zeros((30, 20), np.uint8)
    labels[25:, :5] = 1  # the upper right corner
    image = np.random.default_rng(0).integers(0, 255, (3, 30, 20, 1)).astype(np.float32)
    record = write_result(tmp_path / "case_1", labels, np.eye(4), source={"modality": "", "shape": [30, 20, 1]})
    show(page, write_study_report(tmp_path / "case_1", record, display_view(labels, np.eye(4), image)))
    assert "pixels" in page.inner_text("#classes")
    assert "mL" not in page.inner_text("#classes")
    color = page.evaluate(
        "() => { window.report.view.setOpacity(1); const c = window.report.view.panes[0].canvas;"
        "return [...c.getContext('2d').getImageData(27, 2, 1, 1).data].slice(0, 3); }"
    )
    assert tuple(color) == class_color(1)
    assert "column 2" in page.inner_text("#position")


def test_names_with_markup_are_shown_as_text(page: Any, tmp_path: Path) -> None:
    nasty = "</script><img src=x onerror=alert(1)>"
    labels = label_array()
    show(page, write(tmp_path / "case_1", labels, affine_of(), classes=("background", nasty, "b"), flags=[nasty]))
    assert nasty in page.inner_text("#flags")
    assert nasty in page.inner_text("#classes")
    assert nasty in page.inner_text("#position")
