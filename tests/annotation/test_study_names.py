"""A study's id is its file's name: clients are sent it, and neither the server's logs nor its refusals repeat it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import nibabel as nib
import pytest
from label_server import Server, running_server, tiny_model
from phantoms import affine_of, ct_array, label_array, write_nifti
from privacy_phantoms import MARK, leaks, marked

pytestmark = pytest.mark.label

STUDY, OTHER, GONE = f"{marked('Jane')} Doe, born", marked("Joe"), f"{marked('Gone')} Smith"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server for two studies whose files bear names, one of them damaged."""
    folder = tmp_path_factory.mktemp("server")
    studies = folder / f"{MARK}studies"
    write_nifti(studies / f"{STUDY}.nii.gz", ct_array(label_array()), affine_of())
    (studies / f"{OTHER}.nii.gz").write_bytes(b"no gzip")
    with running_server(studies, tiny_model(folder / "model"), folder) as server:
        yield server


def _logged(server: Server) -> str:
    logs = [file for file in server.app.rglob("*") if "logs" in file.parts and file.is_file()]
    return server.log.read_text() + "".join(file.read_text(errors="replace") for file in logs)


def test_what_clients_ask_for_stands_in_no_log_and_no_refusal(named: Server, tmp_path: Path) -> None:
    listed = named.get("/datastore/", params={"output": "all"}).json()
    assert {STUDY, OTHER} <= set(listed["objects"]), "clients are told the ids"
    assert named.infer("vggunet", STUDY).status_code == 200
    refused = [named.infer("vggunet", study) for study in (OTHER, GONE)]
    assert [answer.status_code for answer in refused] == [422, 404]
    label = tmp_path / f"{STUDY}.nii.gz"
    nib.save(nib.Nifti1Image(label_array(), affine_of()), label)
    assert named.submit(STUDY, label, label_info=[{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]).ok
    uploaded = tmp_path / f"{marked('Uploaded')}.nii.gz"
    nib.save(nib.Nifti1Image(ct_array(label_array(), seed=3), affine_of()), uploaded)
    with uploaded.open("rb") as file:
        sent = named.send(
            "PUT", "/datastore/", params={"image": marked("Uploaded")}, files={"file": (uploaded.name, file)}
        )
    assert sent.ok, sent.text
    assert named.post("/activelearning/uncertainty", json={}).ok
    said = _logged(named)
    assert leaks(said + refused[0].text) == set()
    assert quote(STUDY) not in said
    assert quote_plus(GONE) not in said
    pseudonyms = json.loads((named.app / "names.json").read_text())["names"]
    assert STUDY in {entry["name"] for entry in pseudonyms.values()}
    assert any(pseudonym in said for pseudonym in pseudonyms)


@pytest.mark.slow
def test_training_and_scoring_log_no_name(named: Server, tmp_path: Path) -> None:
    label = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(label_array(), affine_of()), label)
    named.submit(STUDY, label, label_info=[{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}])
    for task, path in (("scoring", "/scoring/uncertainty"), ("train", "/train/vggunet")):
        options = {"max_epochs": 1, "iterations_per_epoch": 1, "batch_size": 2} if task == "train" else {}
        assert named.post(path, json=options).ok
        state = named.wait_for(task)
        # What a client is told of a task begins with the folder of studies: MONAI Label says it before our code runs.
        assert not {marked("Jane"), marked("Joe")} & set(re.findall(r"\w+", json.dumps(state["details"])))
        assert leaks(_logged(named)) == set()
