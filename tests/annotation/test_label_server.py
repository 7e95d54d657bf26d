"""Our app on a real MONAI Label server and a folder of studies: what Slicer and OHIF ask, and what they get wrong."""

from __future__ import annotations

import json
import re
import threading
from email.parser import BytesParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
import SimpleITK
from label_server import STUDIES, Server, ras_affine
from phantoms import affine_of, ct_array, label_array, write_nifti

from monai_vggunet.atomic_files import sha256_of_file

pytestmark = pytest.mark.label
SHORT = {"max_epochs": 3, "iterations_per_epoch": 6, "batch_size": 8}


def mask_of(answer: requests.Response, folder: Path, ending: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask that was sent and its RAS affine, read without our code."""
    assert answer.status_code == 200, answer.text
    file = folder / f"mask{ending}"
    file.write_bytes(answer.content)
    if ending == ".nii.gz":
        image = nib.load(file)
        return np.asarray(image.dataobj), image.affine
    volume = SimpleITK.ReadImage(str(file))
    return SimpleITK.GetArrayFromImage(volume).T, ras_affine(volume)


def parts_of(answer: requests.Response) -> dict[str, bytes]:
    """Return the named parts of a multipart answer."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in message.get_payload()
    }


def test_info_tells_clients_what_there_is(server: Server) -> None:
    info = server.get("/info/").json()
    assert info["models"]["vggunet"]["labels"] == {"liver": 1, "spleen": 2}
    assert info["models"]["vggunet"]["dimension"] == 3
    assert info["models"]["vggunet_clicks"]["labels"] == {"liver": 1, "spleen": 2, "background": 255}
    assert [info["models"][name]["type"] for name in ("vggunet", "vggunet_clicks")] == ["segmentation", "deepedit"]
    assert set(info["strategies"]) == {"uncertainty", "random", "first"}
    assert list(info["trainers"]) == ["vggunet"]
    assert info["datastore"]["total"] == 5


@pytest.mark.parametrize("study", ["axial", "oblique", "nrrd_study"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_mask_lies_on_its_study_in_the_world(server: Server, tmp_path: Path, study: str, ending: str) -> None:
    """OHIF asks for `image`, as .nrrd and uint8."""
    answer = server.infer("vggunet", study, result_extension=ending, result_dtype="uint8", result_compress=True)
    mask, affine = mask_of(answer, tmp_path, ending)
    assert mask.dtype == np.uint8
    assert mask.shape == label_array().shape
    assert len(np.unique(mask)) > 1  # an empty mask would fit any grid
    expected = affine_of("axial" if study == "axial" else "oblique")
    np.testing.assert_allclose(affine, expected, atol=1e-3)


def test_a_plain_nrrd_is_sent_where_one_is_asked_for(server: Server) -> None:
    """OHIF asks so, and fails on a compressed one whose number of voxels is odd."""
    headers = {
        asked: server.infer("vggunet", "axial", result_extension=".nrrd", result_compress=asked).content[:1000]
        for asked in (True, False)
    }
    assert b"encoding: gzip" in headers[True]
    assert b"encoding: raw" in headers[False]


def test_the_same_study_in_two_formats_gives_the_same_mask(server: Server, tmp_path: Path) -> None:
    masks = [mask_of(server.infer("vggunet", name, result_extension=".nrrd"), tmp_path, ".nrrd")[0]
             for name in ("oblique", "nrrd_study")]  # fmt: skip
    np.testing.assert_array_equal(*masks)


def test_slicer_gets_mask_and_words_in_one_answer(server: Server, tmp_path: Path) -> None:
    parts = parts_of(server.infer("vggunet", "axial", output="all", result_extension=".nrrd"))
    said = json.loads(parts["params"])
    assert said["label_names"] == {"liver": 1, "spleen": 2}
    (tmp_path / "mask.nrrd").write_bytes(parts["image"])
    assert SimpleITK.ReadImage(str(tmp_path / "mask.nrrd")).GetSize() == label_array().shape


def test_pages_of_another_origin_may_not_read_answers(server: Server) -> None:
    answer = server.get("/info/", headers={"Origin": "http://elsewhere.example"})
    assert answer.ok  # a viewer that is no browser sends no origin, and is served
    assert "access-control-allow-origin" not in answer.headers


def test_pipes_and_names_that_json_cannot_hold_are_no_studies(server: Server) -> None:
    """Nobody waits for a pipe; with a name that is not UTF-8 no list of studies could be sent."""
    assert set(server.get("/datastore/", params={"output": "all"}).json()["objects"]) == {*STUDIES, "nrrd_study"}
    assert re.search(r"left out of the studies: file-[0-9a-f]{8}\.nii\.gz", server.log.read_text())


def test_json_alone(server: Server) -> None:
    said = server.infer("vggunet", "axial", output="json").json()
    assert said["confidence"]["views"] == 1


def test_an_uploaded_volume_is_segmented(server: Server, folder: Path, tmp_path: Path) -> None:
    with (folder / "studies" / "oblique.nii.gz").open("rb") as file:
        answer = server.post("/infer/vggunet", params={"output": "image"}, files={"file": ("mine.nii.gz", file)})
    mask, affine = mask_of(answer, tmp_path, ".nii.gz")
    np.testing.assert_allclose(affine, affine_of("oblique"), atol=1e-3)
    assert mask.any()


@pytest.mark.parametrize(
    ("model", "study", "params", "status", "word"),
    [
        ("vggunet", "nobody", {}, 404, "there is no study 'nobody'"),
        ("other", "axial", {}, 404, "there is no model 'other'"),
        ("vggunet", "axial", {"device": "abacus"}, 422, "there is no device 'abacus'"),
        ("vggunet", "axial", {"result_extension": ".exe"}, 422, "result_extension is '.exe'"),
        ("vggunet", "axial", {"label_info": ["liver"]}, 422, "label_info holds 'liver'"),
        ("vggunet", "axial", {"label_info": 5}, 422, "label_info is of type int"),
    ],
)
def test_a_wrong_request_is_answered_with_its_reason(
    server: Server, model: str, study: str, params: dict, status: int, word: str
) -> None:
    answer = server.infer(model, study, **params)
    assert answer.status_code == status
    assert word in answer.json()["detail"]


def test_a_study_deleted_meanwhile_is_answered(server: Server, folder: Path) -> None:
    write_nifti(folder / "studies" / "passing.nii.gz", ct_array(label_array()), affine_of())
    deadline = 50
    while "passing" not in server.get("/datastore/?output=all").text and deadline:
        deadline -= 1
        threading.Event().wait(0.2)
    (folder / "studies" / "passing.nii.gz").unlink()
    answer = server.infer("vggunet", "passing")
    assert answer.status_code == 404
    assert "deleted" in answer.json()["detail"]


def test_a_label_of_another_shape_is_refused_and_nothing_stored(server: Server, folder: Path, tmp_path: Path) -> None:
    wrong = write_nifti(tmp_path / "wrong.nii.gz", label_array((20, 16, 5)), affine_of())
    answer = server.submit("fourth", wrong)
    assert answer.status_code == 422
    assert "not on one grid" in answer.json()["detail"]
    assert not (folder / "studies" / "labels" / "final" / "fourth.nii.gz").exists()
    assert not (folder / "studies" / "label_history" / "fourth").exists()


def test_slicer_numbers_the_segments_of_its_list(server: Server, folder: Path, tmp_path: Path) -> None:
    """The liver's segment was removed, so that the spleen comes as 1."""
    spleen = (label_array() == 2).astype(np.uint8)
    label = write_nifti(tmp_path / "label.nii.gz", spleen, affine_of())
    sent = server.submit("fourth", label, label_info=[{"name": "tumor", "idx": 1}])
    assert sent.status_code == 422
    assert "segment 'tumor'; expected liver, spleen" in sent.json()["detail"]
    assert server.submit("fourth", label, label_info=[{"name": "spleen", "idx": 1}]).status_code == 200
    final = folder / "studies" / "labels" / "final" / "fourth.nii.gz"
    try:
        np.testing.assert_array_equal(np.asarray(nib.load(final).dataobj), 2 * spleen)
        said = server.get("/datastore/?output=all").json()["objects"]["fourth"]["labels"]["final"]["info"]
        assert said["label_info"] == [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
    finally:
        final.unlink()  # other tests want the study without a label


@pytest.mark.parametrize("params", ["[1]", "5", '"ab"'])
def test_parameters_that_are_no_object_are_refused(server: Server, folder: Path, params: str) -> None:
    with (folder / "truth" / "fourth.nii.gz").open("rb") as file:
        answer = requests.put(
            f"{server.url}/datastore/label",
            params={"image": "fourth"},
            files={"label": ("label.nii.gz", file)},
            data={"params": params},
            timeout=60,
        )
    assert answer.status_code == 422
    assert "expected a JSON object" in answer.json()["detail"]


def test_a_label_for_no_study_is_refused(server: Server, folder: Path) -> None:
    answer = server.submit("nobody", folder / "truth" / "axial.nii.gz")
    assert answer.status_code == 404


@pytest.mark.parametrize(("path", "word"), [("/activelearning/guess", "no strategy"), ("/train/other", "no model")])
def test_an_unknown_strategy_or_model_to_train_is_refused(server: Server, path: str, word: str) -> None:
    answer = server.post(path, json={})
    assert answer.status_code == 404
    assert word in answer.json()["detail"]


def test_the_loop_of_annotation(server: Server, folder: Path, tmp_path: Path) -> None:
    """Score, take the least certain study, segment, submit, train, and be served the better model."""
    assert server.post("/activelearning/first", json={}).json()["id"] == "axial"
    assert server.post("/scoring/uncertainty", json={}).status_code == 200
    assert server.wait_for("scoring")["status"] == "DONE"
    scores = {name: server.get(f"/datastore/image/info?image={name}").json()["uncertainty"] for name in STUDIES}
    assert all(0.0 <= score["score"] <= 1.0 and score["views"] == 2 for score in scores.values())
    chosen = server.post("/activelearning/uncertainty", json={}).json()
    assert chosen["score"] == max(score["score"] for score in scores.values())

    before = {name: mask_of(server.infer("vggunet", name), tmp_path, ".nii.gz")[0] for name in STUDIES}
    for name in ("axial", "oblique", "third"):
        truth = SimpleITK.ReadImage(str(folder / "truth" / f"{name}.nii.gz"))
        SimpleITK.WriteImage(truth, str(tmp_path / "label.nrrd"))  # as Slicer sends it
        assert server.submit(name, tmp_path / "label.nrrd", client_id="reader").status_code == 200
    stored = nib.load(folder / "studies" / "labels" / "final" / "oblique.nii.gz")
    np.testing.assert_array_equal(np.asarray(stored.dataobj), label_array())
    np.testing.assert_allclose(stored.affine, affine_of("oblique"), atol=1e-3)
    history = json.loads((folder / "studies" / "label_history" / "oblique" / "history.json").read_text())
    assert [(entry["version"], entry["client_id"]) for entry in history] == [(1, "reader")]
    assert server.post("/activelearning/first", json={}).json()["id"] == "fourth"

    model = server.app / "model" / "vggunet" / "models" / "model.pt"
    former = sha256_of_file(model)
    assert server.post("/train/vggunet", json=SHORT).status_code == 200
    threading.Event().wait(1.0)
    assert server.post("/train/vggunet", json=SHORT).status_code == 429  # two trainings at once
    stats = server.get("/info/").json()["train_stats"]["vggunet"]
    assert "total_time" not in stats
    done = server.wait_for("train")
    assert done["status"] == "DONE", done["details"]
    entry = json.loads((model.parent / "retrainings.json").read_text())[-1]
    assert sorted(entry["training"] + entry["validation"]) == ["axial", "oblique", "third"]
    assert entry["replaced"], done["details"]
    assert sha256_of_file(model) == entry["model_sha256"] != former
    assert sha256_of_file(model.parent / entry["archive"] / "model.pt") == former
    judged = entry["validation"][0]
    after = mask_of(server.infer("vggunet", judged), tmp_path, ".nii.gz")[0]
    assert mean_dice(before[judged]) == pytest.approx(entry["mean_dice_before"], abs=1e-3)
    assert mean_dice(after) == pytest.approx(entry["mean_dice_after"], abs=1e-3)  # what was judged is what is served
    assert mean_dice(after) > mean_dice(before[judged])
    stats = server.get("/info/").json()["train_stats"]["vggunet"]
    assert (stats["epoch"], stats["total_epochs"]) == (SHORT["max_epochs"],) * 2
    assert stats["best_metric"] == entry["mean_dice_after"]
    assert "total_time" in stats


def mean_dice(mask: np.ndarray) -> float:
    truth = label_array()
    pairs = [(mask == number, truth == number) for number in (1, 2)]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))


@pytest.mark.parametrize("path", ["/etc", "/etc/hostname", "../../etc"])
def test_a_path_of_the_servers_machine_is_no_study(server: Server, path: str) -> None:
    assert server.infer("vggunet", path).status_code == 404
