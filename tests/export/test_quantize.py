"""int8 within a budget of Dice: layers go back to floating point, or nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_vggunet import VGG16UNet
from monai_vggunet.data import Datalist, ModelSpec, Preprocessing, load_model_spec
from monai_vggunet.errors import DatasetError, ExportError, LabelContentError
from monai_vggunet.export import cases_to_judge, describe_quantization, quantize, quantize_model
from monai_vggunet.export.pooled_dice import PooledDice
from monai_vggunet.export.quantize import import_nncf
from monai_vggunet.export.sample_slices import sample_slices
from monai_vggunet.inference import EngineChoice, VolumeSliceInferer
from monai_vggunet.training import save_model

pytestmark = pytest.mark.slow

NETWORK = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "decoder_channels": [16, 16, 8, 8]}
NAMES = ["background", "liver", "spleen"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Datalist]:
    """A model, and volumes labeled by the network itself, so that it scores 1: what quantization moves is a loss."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    preprocessing = Preprocessing(
        modality="CT", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(32, 32), windows=((-900.0, 1500.0),)
    )
    network, spec = VGG16UNet(**NETWORK).eval(), ModelSpec(NETWORK, preprocessing, NAMES)
    save_model(network, spec, folder / "models")
    cases = []
    for number in range(2):
        generator = torch.Generator().manual_seed(number)
        coarse = torch.randn(1, 1, 8, 6, 4, generator=generator)
        volume = 400 * torch.nn.functional.interpolate(coarse, (48, 32, 4), mode="trilinear")
        affine = np.diag([-1.0, -1.0, 2.0, 1.0])
        image, label = folder / f"image_{number}.nii.gz", folder / f"label_{number}.nii.gz"
        nib.save(nib.Nifti1Image(volume[0, 0].numpy(), affine), image)
        # slices stand rows first: what the network sees is the transposed volume
        labels = VolumeSliceInferer(spec, precision="fp32", crop_body=False)(volume.transpose(2, 3), network)
        nib.save(nib.Nifti1Image(labels[0, 0].transpose(0, 1).numpy().astype(np.uint8), affine), label)
        cases.append({"image": str(image), "label": str(label), "case": str(number), "patient": str(number)})
    return folder / "models" / "model.pt", Datalist(cases[:1], cases[1:], NAMES, "CT")


@pytest.fixture
def model(made: tuple[Path, Datalist], tmp_path: Path) -> Path:
    shutil.copytree(made[0].parent, tmp_path / "models")
    return tmp_path / "models" / "model.pt"


@pytest.fixture
def datalist(made: tuple[Path, Datalist]) -> Datalist:
    return made[1]


@pytest.fixture(scope="module")
def free(made: tuple[Path, Datalist], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The model with its int8 form, whatever that costs, and the report; of two validation cases one may be read."""
    folder = tmp_path_factory.mktemp("free") / "models"
    shutil.copytree(made[0].parent, folder)
    datalist = replace(made[1], validation=[*made[1].validation, *made[1].training], trained=["0"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "MOST_CASES", 1)
        return folder / "model.pt", quantize_model(folder / "model.pt", datalist, max_dice_drop=0.9)


def test_every_second_sample_of_a_model_with_clicks_has_a_true_one(model: Path, datalist: Datalist) -> None:
    spec = load_model_spec(model.with_suffix(".json"))
    guided = replace(spec, preprocessing=replace(spec.preprocessing, n_guidance=3))
    samples = sample_slices(datalist.training, guided, 10**6, 4)
    clicked = [sample.image[0, -3:].amax((1, 2)).tolist() for sample in samples]
    assert [max(values) for values in clicked] == [0, 1, 0, 1]
    for sample, values in zip(samples[1::2], clicked[1::2]):
        number = values.index(1)
        row, column = divmod(int(sample.image[0, -3 + number].argmax()), sample.image.shape[-1])
        assert int(sample.label[row, column]) == number


def test_the_samples_are_what_the_inferer_sees(model: Path, datalist: Datalist) -> None:
    """The labels above are the network's own: on the sampled slices it must score 1."""
    spec = load_model_spec(model.with_suffix(".json"))
    network = VGG16UNet(**NETWORK).eval()
    network.load_state_dict(torch.load(model, weights_only=True))
    samples = sample_slices(datalist.validation, spec, 10**6, 10)
    assert len(samples) == 4
    dice = PooledDice(3)
    for sample in samples:
        with torch.inference_mode():
            dice.add(network(sample.image)[0].argmax(0), sample.label)
    assert dice.mean > 0.999


def status_of_a_child_that_handles_a_signal() -> int:
    child = os.fork()
    if not child:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.raise_signal(signal.SIGUSR1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_layers_go_back_to_floating_point_when_too_much_is_lost(
    model: Path, datalist: Datalist, free: tuple[Path, dict[str, Any]]
) -> None:
    _, whole = free
    lost = whole["dice"]["fp32"]["mean"] - whole["dice"]["int8"]["mean"]
    assert whole["layers"]["floating_point"] <= 2
    assert whole["bytes"]["int8"] < 0.3 * whole["bytes"]["fp32"]
    assert lost > 0.001, "an untrained network that loses nothing shows nothing here"
    budget = 0.9 * lost  # far below it, NNCF ranks all layers again and again, which takes a minute
    tight = quantize_model(model, datalist, max_dice_drop=budget)
    assert tight["layers"]["floating_point"] > whole["layers"]["floating_point"]
    assert tight["dice"]["fp32"]["mean"] - tight["dice"]["int8"]["mean"] <= budget
    assert json.loads((model.parent / "model_int8.json").read_text()) == tight
    text = describe_quantization(tight)
    for name in ("mean", "liver", "spleen", "seconds per slice", "convolutions in int8"):
        assert name in text
    assert status_of_a_child_that_handles_a_signal() == 0, "NNCF's models took the memory of signal handlers with them"


def test_the_report_counts_the_cases_that_were_read_to_judge(free: tuple[Path, dict[str, Any]]) -> None:
    _, report = free
    assert report["cases"] == {"validation": 1, "trained": 0, "all_trained_known": True}
    assert "trained on" not in describe_quantization(report)


def test_int8_runs_by_name_and_is_a_candidate_of_auto(free: tuple[Path, dict[str, Any]], datalist: Datalist) -> None:
    model, report = free
    spec = load_model_spec(model.with_suffix(".json"))
    network = VGG16UNet(**NETWORK).eval()
    network.load_state_dict(torch.load(model, weights_only=True))
    samples = sample_slices(datalist.validation, spec, 10**6, 10)
    for engine in ("openvino", "auto"):
        prepared = EngineChoice(spec, engine, "int8", model).prepare(network, "cpu")
        assert prepared.precision == "int8"
        dice = PooledDice(3)
        for sample in samples:
            dice.add(prepared(sample.image)[0].argmax(0), sample.label)
        assert dice.mean == pytest.approx(report["dice"]["int8"]["mean"], abs=1e-4)


def test_more_than_the_budget_writes_nothing(model: Path, datalist: Datalist, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracy control may end without having kept the budget; here it is left out to get there at once."""

    nncf = import_nncf()

    def uncontrolled(network: object, calibration: object, *args: object, preset: object, **kwargs: object) -> object:
        return nncf.quantize(network, calibration, preset=preset)

    monkeypatch.setattr(nncf, "quantize_with_accuracy_control", uncontrolled)
    before = sorted(path.name for path in model.parent.iterdir())
    with pytest.raises(ExportError, match="nothing was written"):
        quantize_model(model, datalist, max_dice_drop=1e-6)
    assert sorted(path.name for path in model.parent.iterdir()) == before


def test_slices_without_any_class_cannot_judge(model: Path, datalist: Datalist, tmp_path: Path) -> None:
    weights = torch.load(model, weights_only=True)
    weights["head.bias"] = torch.tensor([1e4, 0.0, 0.0])  # background everywhere
    network = VGG16UNet(**NETWORK)
    network.load_state_dict(weights)
    save_model(network, load_model_spec(model.with_suffix(".json")), model.parent)
    (case,) = datalist.validation
    drawn, empty = nib.load(case["label"]), tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(drawn.shape, np.uint8), drawn.affine), empty)
    with pytest.raises(LabelContentError, match="hold a class, so Dice cannot be judged"):
        quantize_model(model, replace(datalist, validation=[case | {"label": str(empty)}]))


def test_the_training_runs_cases_are_the_default(model: Path, datalist: Datalist) -> None:
    with pytest.raises(DatasetError, match=r"datalist\.json is missing.*pass --dataset_dir"):
        cases_to_judge(model)
    datalist.write(model.with_name("datalist.json"))
    assert cases_to_judge(model) == datalist
    model.with_name("datalist.json").write_text("{}")
    with pytest.raises(DatasetError, match="is not a list of cases"):
        cases_to_judge(model)


def test_pooled_dice_is_the_definition() -> None:
    dice = PooledDice(3)
    assert dice.add(torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 1, 0])) == pytest.approx(0.5)
    assert dice.add(torch.tensor([0, 0]), torch.tensor([0, 0])) == 1.0
    dice.add(torch.tensor([1, 1]), torch.tensor([1, 1]))
    assert dice.per_class == [pytest.approx(2 * 3 / (4 + 4)), None]
    assert dice.mean == pytest.approx(0.75)
