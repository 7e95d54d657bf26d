"""Training, evaluation, exports and their reports name nobody: names are planted in a data set and looked for."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from phantoms import label_array
from privacy_phantoms import MARK, leaks, marked, plant_nifti

from monai_vggunet.export import cases_to_check, export_model
from monai_vggunet.report.report import report

from .conftest import TINY, run_bundle

OWN = {"modality": "CT", "overrides": {"spacing_mm": [1.0, 1.0], "roi_size": [32, 32]}}


def _plant(data: Path) -> None:
    for name in ("Jane", "Joe", "Jim"):
        plant_nifti(data / "images" / f"{marked(name)}, born.nii.gz")
        plant_nifti(data / "labels" / f"{marked(name)}, born.nii.gz", label_array())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data set with planted names, a model trained on it, and its figures."""
    folder = tmp_path_factory.mktemp("run")
    data = folder / marked("Clinic")
    _plant(data)
    paths = {"dataset_dir": data, "ckpt_dir": folder / "models", "output_dir": folder / "eval"}
    said = run_bundle("run", "training", config_file="configs/train.json", **paths, **{**TINY, **OWN})
    configs = "['configs/train.json','configs/evaluate.json']"
    return folder, said + run_bundle("run", config_file=configs, split="all", **paths, **OWN)


@pytest.mark.slow
def test_training_and_evaluation_name_nobody(run: tuple[Path, str]) -> None:
    folder, said = run
    assert leaks(said, [folder / "models", folder / "eval"]) == set()
    assert leaks("", [folder / "models"], allowed=()), "the search sees the lists"
    for file in (folder / "models" / "datalist.json", folder / "models" / "names.json", folder / "eval" / "names.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    figures = json.loads((folder / "eval" / "metrics.json").read_text())["per_case"]
    names, trained = (json.loads((folder / part / "names.json").read_text()) for part in ("eval", "models"))
    assert {names["names"][case]["name"] for case in figures} == {f"{marked(n)}, born" for n in ("Jane", "Joe", "Jim")}
    assert names["salt"] == trained["salt"], "a case has one pseudonym in training and evaluation"


@pytest.mark.slow
def test_the_page_of_a_run_names_nobody_and_finds_its_pictures(run: tuple[Path, str]) -> None:
    folder, _ = run
    (page,) = report([folder])
    text = page.page.read_text()
    assert not page.error
    assert leaks(text) == set()
    assert text.count(": drawn and found") == 3
    assert "names.json" not in text


@pytest.mark.slow
def test_exports_and_the_model_beside_them_name_nobody(run: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = run
    model = folder / "models" / "model.pt"
    export_model(model, cases_to_check(model), ["torchscript"])
    assert leaks("", [folder / "models"]) == set()
    assert list((folder / "models").glob("*.ts"))


@pytest.mark.slow
def test_quantization_names_nobody(run: tuple[Path, str], tmp_path: Path) -> None:
    """Done, and refused because a case is damaged that the list beside the model names."""
    pytest.importorskip("nncf", reason="NNCF is not installed (extra openvino)")
    models = shutil.copytree(run[0] / "models", tmp_path / "models")
    said = run_bundle("run", config_file="configs/quantize.json", ckpt_dir=models, max_dice_drop=1.0)
    assert "convolutions in int8" in said
    assert list(models.glob("*int8.xml"))
    assert leaks(said, [models]) == set()
    listed = json.loads((models / "datalist.json").read_text())
    for case in listed["validation"]:
        damaged = tmp_path / marked("gone") / f"{marked('Gone')}.nii.gz"
        damaged.parent.mkdir(exist_ok=True)
        damaged.write_bytes(b"no gzip")
        case["image"] = str(damaged)
    (models / "datalist.json").write_text(json.dumps(listed))
    said = run_bundle("run", check=False, config_file="configs/quantize.json", ckpt_dir=models)
    assert "\nmonai-vggunet: " in said
    assert "cannot be read as NIfTI" in said
    assert leaks(said, [models]) == set()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["image", "list"])
def test_a_training_that_is_refused_names_nobody(damage: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    _plant(data)
    if damage == "image":
        (data / "images" / f"{marked('Joe')}, born.nii.gz").write_bytes(b"no gzip")
    else:
        entry: dict[str, Any] = {"image": f"images/{marked('Gone')}.nii.gz", "label": f"labels/{marked('Gone')}.nii.gz"}
        (data / "dataset.json").write_text(json.dumps({"training": [entry, {marked("key"): marked("value")}]}))
    paths = {"dataset_dir": data, "ckpt_dir": tmp_path / "models", "output_dir": tmp_path / "eval"}
    said = run_bundle("run", "training", config_file="configs/train.json", check=False, **paths, **{**TINY, **OWN})
    assert "\nmonai-vggunet: " in said
    assert leaks(said, [tmp_path / "models", tmp_path / "eval"]) == set()
    if damage == "image":
        said = run_bundle(
            "run", "training", config_file="configs/train.json", check=False, show_phi=True, **paths, **{**TINY, **OWN}
        )
        assert f"{MARK}Joe, born.nii.gz" in said
