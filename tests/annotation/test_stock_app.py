"""Our bundle in MONAI Label's own app `monaibundle`, as the model zoo's bundles are used."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from bombs import nifti_bomb
from label_server import Server, leaves_nothing, running_server, tiny_model, tree_of
from phantoms import affine_of, ct_array, label_array, write_nifti

from monai_vggunet.data import load_model_spec

pytestmark = pytest.mark.label
NAME = "organs_deepedit"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies and their truth, a study for itself, and a link that leads nowhere."""
    folder = tmp_path_factory.mktemp("stock")
    for seed in range(3):
        write_nifti(folder / "studies" / f"study_{seed}.nii.gz", ct_array(label_array(), seed), affine_of("oblique"))
    write_nifti(folder / "truth.nii.gz", label_array(), affine_of("oblique"))
    write_nifti(folder / "studies" / "axial.nii.gz", ct_array(label_array()), affine_of())
    (folder / "studies" / "link.nii.gz").symlink_to(folder / "nowhere.nii.gz")
    return folder


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    """A name with `deepedit` in it gives two models there: automatic, and corrected by clicks."""
    model = tiny_model(root / "model", n_neighbors=1, n_guidance=3)
    with running_server(root / "studies", model, root, "--stock", "--name", NAME) as running:
        yield running


@pytest.mark.slow
def test_segment_submit_train_and_segment_again(server: Server, root: Path, tmp_path: Path) -> None:
    models = server.get("/info/").json()["models"]
    assert (models[f"{NAME}_seg"]["labels"], models[f"{NAME}_seg"]["dimension"]) == ({"liver": 1, "spleen": 2}, 3)
    mask = mask_of(server.infer(f"{NAME}_seg", "study_0", result_extension=".nii.gz"), tmp_path)
    assert mask.shape == label_array().shape
    assert len(np.unique(np.asarray(mask.dataobj))) > 1
    np.testing.assert_allclose(mask.affine, affine_of("oblique"), atol=1e-3)
    clicks = {"liver": [[5, 6, 4]], "background": [[10, 10, 4]]}
    clicked = mask_of(server.infer(NAME, "study_0", result_extension=".nii.gz", **clicks), tmp_path)
    changed = {int(k) for k in np.argwhere(np.asarray(mask.dataobj) != np.asarray(clicked.dataobj))[:, 2]}
    assert changed
    assert changed <= {3, 4, 5}

    refused_as_before_our_own(server, root)

    bundle = server.app / "model" / NAME
    (bundle / "configs" / "train.json").chmod(0o644)  # for reading alone
    config = json.loads((bundle / "configs" / "train.json").read_text())
    config |= {"iterations_per_epoch": 4, "batch_size": 4}  # the stock app passes on epochs alone
    (bundle / "configs" / "train.json").write_text(json.dumps(config))
    for seed in range(2):
        assert server.submit(f"study_{seed}", root / "truth.nii.gz").ok
    # Slicer's defaults: a split of its own, and weights to start from
    asked = {"max_epochs": 2, "val_split": 0.5, "pretrained": True, "device": "cpu"}
    assert server.post(f"/train/{NAME}", json=asked).ok
    done = server.wait_for("train")
    assert done["status"] == "DONE", done["details"]
    entry = json.loads((bundle / "models" / "retrainings.json").read_text())[0]
    assert {*entry["training"], *entry["validation"]} == {"study_0", "study_1"}
    assert not set(entry["training"]) & set(entry["validation"])
    load_model_spec(bundle / "models" / "model.json").require_weights(bundle / "models" / "model.pt")
    assert entry["replaced"] == (bundle / "models" / "archive").exists()
    assert server.infer(f"{NAME}_seg", "study_2", result_extension=".nii.gz").ok


@pytest.mark.slow
def test_nothing_that_is_there_is_overwritten(server: Server, root: Path, tmp_path: Path) -> None:
    label, affine, studies = label_array(), affine_of(), root / "studies"
    other = write_nifti(tmp_path / "other.nii.gz", ct_array(label, seed=1), affine)
    labels = [write_nifti(tmp_path / f"label_{n}.nii.gz", np.roll(label, n, axis=0), affine) for n in range(3)]
    kept = (studies / "axial.nii.gz").read_bytes()
    bomb = nifti_bomb(tmp_path / "bomb.nii.gz", (30_000, 30_000, 30_000), 1 << 24).read_bytes()
    for path in ("/datastore/image", "/datastore/"):
        for name in ("axial", "link"):
            files = {"file": (other.name, other.read_bytes())}
            refused = server.send("PUT", path, params={"image": name}, files=files)
            assert (refused.status_code, "already: choose another name" in refused.text) == (409, True), name
    assert (studies / "axial.nii.gz").read_bytes() == kept
    for part, method, path in (
        ("file", "POST", f"/infer/{NAME}_seg"),
        ("label", "PUT", "/datastore/label?image=axial"),
    ):
        refused = server.send(method, path, files={part: ("x.nii.gz", bomb)}, timeout=60)
        assert (refused.status_code, "promises 30000 x" in refused.text) == (422, True), path
    assert server.send("PUT", "/datastore/image?image=axial", files={"file": ("x.nii.gz", kept)}).ok  # the same
    assert server.send("PUT", "/datastore/image?image=new", files={"file": ("x.nii.gz", kept)}).ok
    for file in labels:
        assert server.submit("axial", file).ok
    assert (studies / "labels" / "final" / "axial.nii.gz").read_bytes() == labels[-1].read_bytes()
    history = sorted((studies / "label_history" / "axial").iterdir())
    assert [file.read_bytes() for file in history] == [file.read_bytes() for file in labels[:-1]]
    assert leaves_nothing(server)


def refused_as_before_our_own(server: Server, folder: Path) -> None:
    """The same front stands before the stock app, which guards little itself."""
    before = tree_of(server.app, folder / "studies")
    volume = {"file": ("x.nii.gz", gzip.compress(b""))}
    for image in (str(server.app / "code" / "main"), "../x", "..", "a/b"):
        assert server.send("PUT", "/datastore/image", params={"image": image}, files=volume).status_code == 422
        assert server.infer(f"{NAME}_seg", image).status_code == 404
    code = {"file": ("main.py", b"")}
    assert server.send("PUT", "/datastore/image", params={"image": "main"}, files=code).status_code == 422
    label = {"label": ("x.nii.gz", gzip.compress(b""))}
    refused = server.send("PUT", "/datastore/label", params={"image": "study_0", "tag": "../../app/code"}, files=label)
    assert refused.status_code == 422
    assert server.send("PUT", f"/model/{NAME}", files={"file": ("x.pt", b"")}).status_code == 404
    run = f"$__import__('os').system('touch {folder}/hacked')"
    for key in ("device", "run_id", "tracking_uri", "model_filename", "bundle_path", "train#trainer#max_epochs"):
        for path, asked in ((f"/train/{NAME}", {key: run}), ("/train/", {NAME: {key: run}})):
            assert server.post(path, json=asked).status_code == 422, key
    for key in ("result_extension", "model_filename", "label_tag", "logging"):
        assert server.infer(f"{NAME}_seg", "study_0", **{key: "/../x"}).status_code == 422, key
    for path in ("/reload", "/logs/", "/batch/infer/../x"):
        assert server.post(path).status_code == 404
    assert server.infer(f"{NAME}_seg", "main.py").status_code == 404  # nor is a file of the working directory a study
    nobodys = {"session_id": "0a373144-eb0d-11f1-9008-02fc00000001"}
    assert server.post(f"/infer/{NAME}_seg", params=nobodys).status_code == 404
    assert server.get("/info/", headers={"Host": "evil.example"}).status_code == 400
    assert server.post(f"/train/{NAME}", json={}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert tree_of(server.app, folder / "studies") == before
    assert not (folder / "hacked").exists()


def mask_of(answer: requests.Response, folder: Path) -> nib.Nifti1Image:
    assert answer.status_code == 200, answer.text
    file = folder / f"mask_{len(list(folder.iterdir()))}.nii.gz"
    file.write_bytes(answer.content)
    return nib.load(file)
