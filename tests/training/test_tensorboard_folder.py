"""Curves lie where TensorBoard can write them, or a training does not begin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_vggunet.data import Datalist
from monai_vggunet.errors import ConfigurationError, refusal_behind
from monai_vggunet.training import tensorboard_folder

STRANGE = os.fsdecode(b"Andr\xe9")


def test_curves_lie_in_the_output(tmp_path: Path) -> None:
    assert tensorboard_folder(tmp_path / "\u00e9") == str(tmp_path / "\u00e9" / "tensorboard")


def test_curves_of_training_cases_lie_apart(tmp_path: Path) -> None:
    """TensorBoard shows the folder's name beside the curve."""
    case = {"image": "a.nii.gz", "label": "l.nii.gz", "case": "a"}
    assert tensorboard_folder(tmp_path, Datalist([case], [case])) == str(tmp_path / "tensorboard")
    apart = tensorboard_folder(tmp_path, Datalist([case], [case], trained=["a"]))
    assert apart == str(tmp_path / "tensorboard" / "validated_on_training_cases")


def test_a_folder_whose_name_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Andr.xe9/tensorboard is not UTF-8.*pass another --output_dir"):
        tensorboard_folder(tmp_path / STRANGE)


def test_a_path_that_monai_rewrites_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="eval#2 holds a '#', which MONAI's config language rewrites to '::'"):
        tensorboard_folder(tmp_path / "eval::2")


@pytest.mark.parametrize(
    ("config", "option"),
    [("train", "ckpt_dir"), ("train", "output_dir"), ("inference", "output_dir"), ("export", "ckpt_dir")],
)
def test_results_never_go_where_monai_rewrote_their_path(
    repository: Path, tmp_path: Path, config: str, option: str
) -> None:
    parser = ConfigParser()
    parser.read_config(str(repository / "bundle" / "configs" / f"{config}.json"))
    parser.update({"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path), option: str(tmp_path / "run#2")})
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("initialize")
    assert isinstance(refusal_behind(caught.value), ConfigurationError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("configs", [["train.json"], ["train.json", "multi_gpu_train.json"]])
def test_training_refuses_it_before_it_reads_a_case(repository: Path, tmp_path: Path, configs: list[str]) -> None:
    parser = ConfigParser()
    parser.read_config([str(repository / "bundle" / "configs" / name) for name in configs])
    parser.update({"output_dir": str(tmp_path / STRANGE), "ckpt_dir": str(tmp_path), "dataset_dir": "nowhere"})
    (step,) = [n for n, text in enumerate(parser["initialize"]) if "tensorboard_folder" in text]
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content(f"initialize#{step}")
    assert isinstance(refusal_behind(caught.value), ConfigurationError)
    assert "nowhere" not in str(caught.value)
