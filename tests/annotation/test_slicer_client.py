"""3D Slicer's extension on a real server: its own client class, called in the order in which its buttons do."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from label_server import PYTHON, Server, running_server, tiny_model
from phantoms import affine_of, ct_array, label_array, write_nifti

pytestmark = pytest.mark.label
STUDY = "oblique"
EXTENSION = PYTHON.parents[1] / "monailabel" / "plugins" / "slicer" / "MONAILabel"


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies of this file's own: labels and trainings stay in it."""
    root = tmp_path_factory.mktemp("slicer")
    write_nifti(root / "studies" / f"{STUDY}.nii.gz", ct_array(label_array()), affine_of("oblique"))
    return root / "studies"


@pytest.fixture(scope="module")
def slicer_server(studies: Path) -> Iterator[Server]:
    model = tiny_model(studies.parent / "model", n_neighbors=1, n_guidance=3)
    with running_server(studies, model, studies.parent) as running:
        yield running


@pytest.fixture
def client(slicer_server: Server, tmp_path: Path) -> Any:
    """The client of the extension, which comes with MONAI Label; a client id as it sends by default."""
    spec = importlib.util.spec_from_file_location("slicer_client", EXTENSION / "MONAILabelLib" / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MONAILabelClient(slicer_server.url, str(tmp_path), "user-xyz")


def options(client: Any, section: str, name: str) -> dict[str, Any]:
    """Return what the extension's table of options sends: the first of a list."""
    config = client.info()[section][name]["config"]
    return {key: value[0] if isinstance(value, list) else value for key, value in config.items()}


def run(
    client: Any, model: str, image: str = STUDY, session: str | None = None, **clicks: Any
) -> dict[str, np.ndarray]:
    """Press *Run* or *Update*; return the segments as the extension names them: in the order of their numbers."""
    asked = {**clicks, **options(client, "models", model), "result_extension": ".nrrd", "result_dtype": "uint8"}
    file, said = client.infer(model, image, asked, session_id=session)
    numbers = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file)).T
    names = [name for name, _ in sorted(said["label_names"].items(), key=lambda item: item[1]) if name != "background"]
    assert numbers.max() <= len(names)
    return {name: numbers == number for number, name in enumerate(names, 1)}


def test_next_sample_run_click_submit_and_train(client: Any, slicer_server: Server, tmp_path: Path) -> None:
    info = client.info()
    assert info["labels"] == ["liver", "spleen", "background"]  # its list of segments; "background" is not written
    sample = client.next_sample("first", {})
    assert Path(sample["path"]).is_file()
    assert sample["id"] in client.datastore()["objects"]

    automatic = run(client, "vggunet")
    assert list(automatic) == ["liver", "spleen"]
    voxel = [9, 7, 3]
    clicks = {"liver": [], "spleen": [voxel], "background": [], "label": "spleen"}
    corrected = run(client, "vggunet_clicks", **clicks)
    assert list(corrected) == ["liver", "spleen"]
    assert corrected["spleen"][tuple(voxel)]
    assert not corrected["liver"][tuple(voxel)]

    # He removed the liver and drew the spleen by hand: its number in the file is 1.
    spleen = (label_array() == 2).astype(np.uint8)
    drawn = write_nifti(tmp_path / "label.nii.gz", spleen, affine_of("oblique"))
    client.save_label(STUDY, str(drawn), params={"label_info": [{"name": "spleen", "idx": 1}]})
    stored = client.download_label(STUDY, "final")
    np.testing.assert_array_equal(np.asarray(nib.load(stored).dataobj), 2 * spleen)

    asked = {**options(client, "trainers", "vggunet"), "max_epochs": 1, "iterations_per_epoch": 2, "batch_size": 2}
    client.train_start("vggunet", asked)
    for _ in range(50):  # the extension waits a second, and asks every five
        if client.train_status(check_if_running=True):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the training is never said to be running")
    assert slicer_server.wait_for("train")["status"] == "DONE"
    stats = next(iter(client.info()["train_stats"].values()))  # its bars
    assert (stats["epoch"], stats["total_epochs"]) == (1, 1)
    assert "total_time" in stats


def test_a_volume_of_the_users_own_is_segmented_in_a_session(client: Any, studies: Path, tmp_path: Path) -> None:
    image = shutil.copy(studies / f"{STUDY}.nii.gz", tmp_path / "mine.nii.gz")
    session = client.create_session(str(image))["session_id"]
    assert client.get_session(session)
    mine = run(client, "vggunet", "mine", session)
    np.testing.assert_array_equal(mine["liver"], run(client, "vggunet")["liver"])
    voxel = [9, 7, 3]
    assert run(client, "vggunet_clicks", "mine", session, spleen=[voxel])["spleen"][tuple(voxel)]


def test_an_uploaded_volume_becomes_a_study(client: Any, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "new.nii.gz", ct_array(label_array()), affine_of())
    client.upload_image(str(image), "uploaded")
    assert "uploaded" in client.datastore()["objects"]
    assert run(client, "vggunet", "uploaded")["liver"].shape == label_array().shape
