"""OHIF as MONAI Label ships it, in a real browser, on a real Orthanc: it draws the server's mask, in its place."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import orthanc_server
import pytest
from dicom_phantoms import oblique, write_series
from label_server import PYTHON, Server, running_server, tiny_model
from phantoms import ct_array, label_array
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

pytestmark = [pytest.mark.label, pytest.mark.pacs, pytest.mark.browser, pytest.mark.slow]

STUDY, SERIES, PATIENT = "1.2.3.4.10", "1.2.3.4.100", "Phantom^Oblique"
SHAPE = (45, 33, 11)  # an odd number of voxels, which OHIF cannot inflate
COLORS = {"liver": (221, 130, 101), "spleen": (157, 108, 162)}  # the plug-in's own, by name
TOKEN = "t0ken-of-the-tests"
LIMIT_MS = 60_000
HALF_A_VOXEL = 0.51
NO_METRIC = "not determined"
TRAINING = {"max_epochs": 2, "iterations_per_epoch": 3, "batch_size": 4}
NAMES = np.array(["", "liver", "spleen"])  # of the numbers in the server's mask
LABELMAP = "window.services.segmentationService.getLabelmapVolume('1')"
IS_CONNECTED = f"() => {{ try {{ return Boolean({LABELMAP}); }} catch {{ return false; }} }}"
# What the viewer holds: numbers, their names, and how its voxels lie in the world (LPS, mm).
HELD = f"""() => {{
  const volume = {LABELMAP}, {{ segments }} = window.services.segmentationService.getSegmentations()[0];
  return {{
    labels: [...volume.voxelManager.getCompleteScalarDataArray()], shape: [...volume.dimensions],
    names: Object.fromEntries(Object.values(segments).map((one) => [one.segmentIndex, one.label])),
    origin: [...volume.origin], spacing: [...volume.spacing], direction: [...volume.direction],
  }};
}}"""
AXIAL = "window.cornerstone.getRenderingEngines()[0].getViewport('mpr-axial')"
SHOW = f"""(world) => {{
  const view = {AXIAL}, frame = view.element.getBoundingClientRect();
  view.jumpToWorld(world);
  view.render();
  const [x, y] = view.worldToCanvas(world);
  return [frame.x + x, frame.y + y];
}}"""
PLACE = f"""([x, y]) => {{
  const view = {AXIAL}, frame = view.element.getBoundingClientRect();
  return [...view.canvasToWorld([x - frame.x, y - frame.y])];
}}"""


@pytest.fixture(scope="module")
def archive_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our app, with a model that takes clicks and a token, on an Orthanc that holds one oblique series."""
    if why := orthanc_server.why_no_orthanc():
        pytest.skip(why)
    if not PYTHON.is_file():
        pytest.skip("MONAI Label's environment (.label-venv) is not here: scripts/test.sh makes it")
    if not [*PYTHON.parents[1].glob("lib/*/site-packages/monailabel/endpoints/static/ohif/index.html")]:
        pytest.skip("this MONAI Label came without OHIF")
    root = tmp_path_factory.mktemp("ohif")
    stored = np.ascontiguousarray(ct_array(label_array(SHAPE)).T)
    own = {"StudyInstanceUID": STUDY, "PatientName": PATIENT, "StudyDate": "20240101"}
    files = write_series(root / "dicom", stored, series_uid=SERIES, orientation=oblique(), **own)
    model = tiny_model(root / "model", n_neighbors=1, n_guidance=3, spacing_mm=(2.5, 2.5))
    secret = {
        "MONAI_LABEL_DICOMWEB_USERNAME": orthanc_server.USER,
        "MONAI_LABEL_DICOMWEB_PASSWORD": orthanc_server.PASSWORD,
    }
    orthanc = orthanc_server.Orthanc()
    try:
        orthanc.upload(files)
        with running_server(orthanc.dicomweb, model, root, "--token", TOKEN, **secret) as server:
            yield server
    finally:
        orthanc.stop()


@pytest.fixture(scope="module")
def page(chromium: Any, archive_server: Server) -> Iterator[Any]:
    """The viewer as a user opens it: the study list, the study, the mode *MONAI Label*, the connection."""
    asked = {"username": "annotator", "password": archive_server.token}  # what the user answers the browser
    context = chromium.new_context(viewport={"width": 1400, "height": 850}, http_credentials=asked)
    context.route(lambda url: not url.startswith(archive_server.url), lambda route: route.abort())
    context.set_default_timeout(LIMIT_MS)
    page = context.new_page()
    page.goto(f"{archive_server.url}/ohif/")
    page.get_by_role("button", name="Confirm and Hide").click()
    page.get_by_text("Phantom, Oblique").first.click()
    page.get_by_text("MONAI Label", exact=True).click()
    page.fill("#monailabelServerURL", f"{archive_server.url}/")
    page.wait_for_function(f"() => window.cornerstone?.getRenderingEngines()[0] && {AXIAL}?.getImageData()")
    page.locator(".settingsTable button").click()
    page.wait_for_function(IS_CONNECTED)
    yield page
    context.close()


def run(page: Any, title: str) -> dict[str, Any]:
    """Press a Run button; return the parameters of the request."""
    with page.expect_response(lambda answer: "/infer/" in answer.url) as answer:
        page.locator(f"button[title='Run {title}']").click()
    assert answer.value.status == 200
    sent = answer.value.request.post_data
    return json.loads(next(line for line in sent.splitlines() if line.startswith("{")))


def server_mask(server: Server, folder: Path, model: str = "vggunet", **clicks: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the server's own mask and its affine, to LPS."""
    answer = server.infer(model, SERIES, result_extension=".nii.gz", **clicks)
    (folder / "mask.nii.gz").write_bytes(answer.content)
    image = nib.load(folder / "mask.nii.gz")
    return np.asarray(image.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def held_mask(page: Any, affine: np.ndarray) -> np.ndarray:
    """Return the names of what the viewer shows in every voxel of the grid of an affine (to LPS)."""
    held = page.evaluate(HELD)
    shape, names = held["shape"], {0: "", **{int(number): name for number, name in held["names"].items()}}
    index = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape, order="F"), -1)
    world = held["origin"] + (index * held["spacing"]) @ np.reshape(held["direction"], (3, 3))
    other = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(other - np.rint(other)).max() < 0.01, "the grids differ"
    labels = np.full(SHAPE, "?", dtype=object)
    labels[tuple(np.rint(other).astype(int).T)] = [names[number] for number in held["labels"]]
    return labels.astype(str)


def wait_for_mask(page: Any, affine: np.ndarray, expected: np.ndarray) -> None:
    """Wait until the viewer shows what is expected; fail with what differs if it never does."""
    end = time.monotonic() + 10
    while (held := held_mask(page, affine)).tolist() != expected.tolist() and time.monotonic() < end:
        time.sleep(0.2)
    np.testing.assert_array_equal(held, expected)


def color_at(page: Any, world: np.ndarray) -> np.ndarray:
    """Go to a place (LPS, mm) in the axial view; return the color that is on the screen there."""
    x, y = page.evaluate(SHOW, world.tolist())
    page.wait_for_timeout(500)  # two frames by software
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return np.array(shot.getpixel((round(x), round(y))), float)


def test_run_draws_the_servers_mask_where_it_lies(page: Any, archive_server: Server, tmp_path: Path) -> None:
    mask, affine = server_mask(archive_server, tmp_path)
    assert mask.size % 2 == 1
    assert set(np.unique(held_mask(page, affine))) == {""}
    run(page, "Segmentation")
    wait_for_mask(page, affine, NAMES[mask])
    same = minimum_filter(mask, 3, mode="constant", cval=9) == maximum_filter(mask, 3, mode="constant", cval=9)
    for number, name in enumerate(NAMES):
        inside = np.argwhere(same & (mask == number))
        assert len(inside), f"no place well inside of {name or 'nothing'}: the phantom does not serve"
        color = color_at(page, affine[:3, :3] @ inside[len(inside) // 2] + affine[:3, 3])
        if not name:
            assert np.ptp(color) <= 6, f"the image itself is gray, got {color}"
            continue
        # half-transparent over gray: what is left without the gray points the way of the segment's color
        seen, own = color - color.mean(), np.subtract(COLORS[name], np.mean(COLORS[name]))
        assert np.ptp(color) > 15, f"nothing is drawn where the mask holds {name}: {color}"
        assert seen @ own > 0.95 * np.linalg.norm(seen) * np.linalg.norm(own), (name, color)


def test_clicks_arrive_where_they_were_made(page: Any, archive_server: Server, tmp_path: Path) -> None:
    """On top of the automatic result. A click on the background draws no class as a segment "background"."""
    mask, affine = server_mask(archive_server, tmp_path)
    run(page, "Segmentation")
    wait_for_mask(page, affine, NAMES[mask])
    middle = affine[:3, :3] @ (np.array(SHAPE) // 2) + affine[:3, 3]
    x, y = map(round, page.evaluate(SHOW, middle.tolist()))  # a mouse event holds whole pixels
    page.locator("label.tab-label", has_text="Point Prompts").click()
    sent, places = {}, {"spleen": (x - 15, y), "background": (x + 12, y + 15)}
    for name, place in places.items():
        page.locator("tr.clickable-row:visible", has_text=name).click()
        page.mouse.move(*place)
        page.mouse.down()
        page.wait_for_timeout(100)
        page.mouse.up()
        page.wait_for_timeout(500)
        sent = run(page, "PointPrompts")
        assert len(sent[name]) == 1
        offset = affine[:3, :3] @ sent[name][0] + affine[:3, 3] - page.evaluate(PLACE, place)
        assert (np.abs(np.linalg.inv(affine[:3, :3]) @ offset) <= HALF_A_VOXEL).all(), f"{name}: {offset} mm off"
    clicked, _ = server_mask(archive_server, tmp_path, "vggunet_clicks", **{name: sent[name] for name in places})
    # The plug-in replaces the classes that were clicked and keeps all others.
    expected = np.where(mask == 1, "liver", np.where(clicked == 2, "spleen", ""))
    wait_for_mask(page, affine, expected)


def test_a_training_is_started_from_the_viewer_and_shown_there(
    page: Any, archive_server: Server, tmp_path: Path
) -> None:
    """On the label that another client submitted; the options are those of the panel's dialog."""
    truth = np.asarray(label_array(SHAPE))
    label = nib.Nifti1Image(truth, np.diag([-1.0, -1.0, 1.0, 1.0]) @ server_mask(archive_server, tmp_path)[1])
    nib.save(label, tmp_path / "label.nii.gz")
    assert archive_server.submit(SERIES, tmp_path / "label.nii.gz").status_code == 200
    page.get_by_text("Options / Configurations").click()
    page.locator("select[name=selectSection]").select_option("train")
    for option, number in TRAINING.items():
        page.locator(f"#trainvggunet{option}").fill(str(number))
    page.get_by_role("button", name="Confirm", exact=True).click()
    page.locator("label.tab-label", has_text="Active Learning").click()
    with page.expect_response(lambda answer: answer.url.endswith("/train/")) as answer:
        page.get_by_role("button", name="Update Model").click()
    assert answer.value.status == 200
    assert json.loads(answer.value.request.post_data) == {"vggunet": TRAINING}
    page.get_by_role("button", name="Stop Training").wait_for()
    done = archive_server.wait_for("train")
    assert done["status"] == "DONE", done["details"]
    page.locator(".settingsTable button").click()  # the panel asks the server again
    stats = archive_server.get("/info/").json()["train_stats"]["vggunet"]
    assert stats["epoch"] == TRAINING["max_epochs"]
    best = stats.get("best_metric")
    shown = f"{int(100 * best + 0.5)}% is current best metric" if best else NO_METRIC  # as JavaScript rounds
    page.locator(f"td[title='{shown}']").wait_for()
