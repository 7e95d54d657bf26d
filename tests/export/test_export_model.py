"""Exports carry what they need, give the network's labels, and appear whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from dicom_phantoms import write_series
from small_disk import small_disk
from typer.testing import CliRunner

from monai_vggunet import VGG16UNet
from monai_vggunet.cli.main import app
from monai_vggunet.data import ModelSpec, Preprocessing, load_model_spec
from monai_vggunet.errors import ConfigurationError, DatasetError, ExportError, ModelMismatchError, OutputWriteError
from monai_vggunet.export import cases_to_check, export_model, formats
from monai_vggunet.inference.engines import OnnxEngine, OpenVINOEngine
from monai_vggunet.inference.engines.export_files import SUFFIXES, export_path, read_metadata
from monai_vggunet.training import save_model

NETWORK = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "decoder_channels": [16, 16, 8, 8]}


def write_model(folder: Path) -> Path:
    torch.manual_seed(0)
    preprocessing = Preprocessing(
        modality="CT", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(32, 32), windows=((-900.0, 1500.0),)
    )
    spec = ModelSpec(network=NETWORK, preprocessing=preprocessing, class_names=["background", "liver", "spleen"])
    save_model(VGG16UNet(**NETWORK), spec, folder)
    return folder / "model.pt"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_series(folder / "a" / "ct")
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    model = write_model(tmp_path_factory.mktemp("exported"))
    export_model(model, cases_to_check(model, images))
    return model


@pytest.fixture(scope="module")
def network(exported: Path) -> VGG16UNet:
    network = VGG16UNet(**NETWORK).eval()
    network.load_state_dict(torch.load(exported, weights_only=True))
    return network


def test_a_path_that_libraries_cannot_write_to_is_refused(tmp_path: Path, images: Path) -> None:
    model = write_model(tmp_path / os.fsdecode(b"M\xfcller"))
    with pytest.raises(ConfigurationError, match="is not UTF-8, and the exporting libraries"):
        export_model(model, cases_to_check(model, images))


@pytest.mark.parametrize("kind", ["torchscript", "torch_export", "onnx", "openvino"])
def test_an_export_says_what_it_is(exported: Path, kind: str) -> None:
    spec = load_model_spec(exported.with_suffix(".json"))
    metadata = read_metadata(export_path(exported, kind), spec)
    assert metadata.weights_sha256 == spec.weights_sha256
    assert metadata.model["class_names"] == ["background", "liver", "spleen"]
    assert metadata.model["preprocessing"]["windows"] == [[-900.0, 1500.0]]
    assert metadata.precision == "fp32"
    assert "argmax" in metadata.postprocessing


@pytest.mark.parametrize("kind", ["torchscript", "torch_export", "onnx", "openvino"])
def test_an_export_takes_any_batch_and_size(exported: Path, network: VGG16UNet, kind: str) -> None:
    path = export_path(exported, kind)
    run = {
        "torchscript": lambda: torch.jit.load(str(path)),
        "torch_export": lambda: torch.export.load(str(path)).module(),
        "onnx": lambda: OnnxEngine(path),
        "openvino": lambda: OpenVINOEngine(path, "fp32"),
    }[kind]()
    for shape in [(1, 3, 32, 32), (3, 3, 64, 48), (1, 3, 35, 61)]:
        image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            torch.testing.assert_close(run(image), network(image), atol=1e-4, rtol=1e-4)


def test_onnx_names_its_axes(exported: Path) -> None:
    graph = onnx.load(export_path(exported, "onnx")).graph
    dims = graph.input[0].type.tensor_type.shape.dim
    assert graph.input[0].name == "image"
    assert graph.output[0].name == "logits"
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 3, "height", "width"]


def test_the_report_says_how_exports_compared(exported: Path) -> None:
    report = json.loads((exported.parent / "model_exports.json").read_text())
    assert set(report["exports"]) == {"torchscript", "torch_export", "onnx", "openvino"}
    for kind, figures in report["exports"].items():
        assert figures["file"] == "model" + SUFFIXES[kind]
        assert figures["n_slices"] > 1
        assert figures["differing"] <= 1e-3
        assert figures["bytes"] > 1e6


class Shifted(torch.nn.Module):
    """The network of somebody else."""

    def __init__(self, network: VGG16UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x).roll(1, 1)


def test_an_export_with_other_labels_leaves_nothing_and_keeps_the_former_one(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path)
    cases = cases_to_check(model, images)
    export_model(model, cases, ["torchscript"])
    former = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    right = formats.WRITERS["torchscript"]
    monkeypatch.setitem(formats.WRITERS, "torchscript", lambda network, *rest: right(Shifted(network).eval(), *rest))
    with pytest.raises(ExportError, match="does not give the labels of the float32 network"):
        export_model(model, cases, ["torchscript"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == former


@pytest.mark.parametrize("moment", ["check", "replace"])
def test_openvinos_two_files_are_never_a_mixture(
    tmp_path: Path, exported: Path, network: VGG16UNet, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Stopped at any moment there is the former pair, the new pair, or no graph at all."""
    for suffix in (".xml", ".bin"):
        (tmp_path / f"model{suffix}").write_bytes(b"former")

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    if moment == "replace":
        monkeypatch.setattr(formats.os, "replace", stop)
    metadata = read_metadata(export_path(exported, "openvino"), load_model_spec(exported.with_suffix(".json")))
    with pytest.raises(KeyboardInterrupt):
        formats.write_openvino(
            network, tmp_path / "model.xml", metadata, stop if moment == "check" else lambda engine: None
        )
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == ({"model.xml": b"former"} if moment == "check" else {}) | {"model.bin": b"former"}


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_model(tmp_path)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(formats.torch.jit, "save", full)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(OutputWriteError, match="No space left on device"):
        export_model(model, cases_to_check(model, images), ["torchscript"])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_bad_requests_are_refused(tmp_path: Path, images: Path) -> None:
    model = write_model(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot export \\['keras'\\]"):
        export_model(model, cases_to_check(model, images), ["onnx", "keras"])
    with pytest.raises(DatasetError, match="pass --dataset_dir"):
        cases_to_check(model)
    with pytest.raises(ModelMismatchError, match=r"gone\.json is missing: .* train a model, or name one"):
        cases_to_check(tmp_path / "gone.pt")
    model.write_bytes(model.read_bytes()[:-7])
    with pytest.raises(ModelMismatchError, match=r"is not the model that its model\.json describes"):
        export_model(model, cases_to_check(model, images))


def test_the_command_exports(tmp_path: Path, images: Path) -> None:
    model = write_model(tmp_path)
    done = CliRunner().invoke(app, ["export", "--model", str(model), "--data", str(images), "--formats", "torchscript"])
    assert done.exit_code == 0, done.output
    assert zipfile.is_zipfile(tmp_path / "model.ts")
    assert "model.ts" in done.output
    image = torch.randn(1, 3, 32, 32)
    exported = torch.jit.load(str(tmp_path / "model.ts"))
    network = VGG16UNet(**NETWORK).eval()
    network.load_state_dict(torch.load(model, weights_only=True))
    with torch.inference_mode():
        np.testing.assert_allclose(exported(image), network(image), atol=1e-4)


@pytest.mark.parametrize("kind", ["torchscript", "torch_export", "openvino"])
def test_a_full_disk_ends_an_export_with_its_reason(kind: str, exported: Path, network: VGG16UNet, disk: Path) -> None:
    """A real disk: torch and OpenVINO write in C++, where what a test may replace in Python does not count."""
    metadata = formats.ExportMetadata.of(load_model_spec(exported.with_suffix(".json")), "fp32")
    path = disk / f"model{SUFFIXES[kind]}"
    with pytest.raises(OutputWriteError, match=f"cannot write {path}: .*Free disk space"):
        formats.WRITERS[kind](network, path, metadata, lambda _: pytest.fail("it was written"))
    assert list(disk.iterdir()) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 1024) as folder:
        yield folder
