"""Every engine gives the network's labels, at any size; the one asked for is taken, or refused with what to do."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from monai_vggunet import VGG16UNet
from monai_vggunet.data import ModelSpec, Preprocessing, load_model_spec
from monai_vggunet.errors import ConfigurationError, EngineUnavailableError, ExportError, ModelMismatchError
from monai_vggunet.export.formats import write_onnx, write_openvino
from monai_vggunet.inference import EngineChoice, VolumeSliceInferer
from monai_vggunet.inference.engines import Engine, OnnxEngine, OpenVINOEngine, TorchEngine
from monai_vggunet.inference.engines import engine_choice as selection
from monai_vggunet.inference.engines import export_files as exports
from monai_vggunet.inference.engines.export_files import METADATA_KEY, ExportMetadata, export_path, read_metadata
from monai_vggunet.inference.engines.openvino_engine import import_openvino, one_core
from monai_vggunet.inference.engines.parity import TOLERANCES, CheckedEngine, compare_labels
from monai_vggunet.networks.fold_batch_norm import fold_batch_norm
from monai_vggunet.training import save_model

NETWORK = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "decoder_channels": [16, 16, 8, 8]}
SHAPES = [(1, 3, 64, 48), (3, 3, 32, 80), (1, 3, 16, 40), (1, 3, 48, 200), (1, 3, 64, 48)]


def make_network() -> VGG16UNet:
    """Untrained, but with statistics in its batch norms that folding must carry over."""
    torch.manual_seed(0)
    network = VGG16UNet(**NETWORK)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> VGG16UNet:
    return make_network()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, network: VGG16UNet) -> Path:
    """A model with its ONNX and OpenVINO exports beside it."""
    folder = tmp_path_factory.mktemp("exported")
    preprocessing = Preprocessing(
        modality="CT", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(32, 32), windows=((-900.0, 1500.0),)
    )
    names = ["background", "liver", "spleen"]
    save_model(network, ModelSpec(network=NETWORK, preprocessing=preprocessing, class_names=names), folder)
    spec = load_model_spec(folder / "model.json")
    metadata = ExportMetadata.of(spec, "fp32")
    for kind, write in (("onnx", write_onnx), ("openvino", write_openvino)):
        write(network, export_path(folder / "model.pt", kind), metadata, lambda engine: None)
    return folder / "model.pt"


@pytest.fixture
def spec(exported: Path) -> ModelSpec:
    return load_model_spec(exported.with_suffix(".json"))


def test_folding_batch_norm_changes_nothing_but_rounding(network: VGG16UNet) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), network(image), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
def test_every_engine_gives_the_networks_logits_at_any_size(
    name: str, exported: Path, spec: ModelSpec, network: VGG16UNet
) -> None:
    engine = EngineChoice(spec, name, "fp32", exported).prepare(network, "cpu")
    assert engine.name == name
    results = []
    for number, shape in enumerate(SHAPES):
        image = torch.randn(shape, generator=torch.Generator().manual_seed(number))
        with torch.inference_mode():
            results.append((engine(image), network(image)))
    for found, expected in results:  # at the end: no result may be overwritten by the next call
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_channels_last_input_is_no_other_image(exported: Path, network: VGG16UNet) -> None:
    image = torch.randn(1, 3, 48, 64).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = network(image)
    for engine in (OnnxEngine(export_path(exported, "onnx")), OpenVINOEngine(export_path(exported, "openvino"))):
        torch.testing.assert_close(engine(image), expected, atol=1e-4, rtol=1e-4)


def test_openvino_without_an_export_converts_and_checks_on_the_first_slice(spec: ModelSpec, network: VGG16UNet) -> None:
    engine = EngineChoice(spec, "openvino", "fp32").prepare(network, "cpu")
    assert isinstance(engine, CheckedEngine)
    image = torch.randn(2, 3, 48, 64)
    with torch.inference_mode():
        torch.testing.assert_close(engine(image), network(image), atol=1e-4, rtol=1e-4)


class Wrong(Engine):
    name, precision, version = "wrong", "fp32", "1"

    def __init__(self, network: nn.Module, change: str) -> None:
        self.network, self.change = network, change

    def run(self, slices: torch.Tensor) -> torch.Tensor:
        logits = self.network(slices)
        if self.change == "nan":
            logits[0, 0, 0, 0] = float("nan")
        elif self.change == "classes":
            logits = logits.flip(1)
        elif self.change == "place":
            logits = logits.roll(5, -1)
        return logits


@pytest.mark.parametrize(
    ("change", "message"), [("nan", "NaN"), ("classes", "have another label"), ("place", "have another label")]
)
def test_an_engine_that_gives_other_labels_is_refused(network: VGG16UNet, change: str, message: str) -> None:
    engine = CheckedEngine(Wrong(network, change), network)
    with torch.inference_mode(), pytest.raises(ExportError, match=message):
        engine(100 * torch.randn(1, 3, 64, 64))


def test_parity_forgives_ties_alone() -> None:
    def reference(slices: torch.Tensor) -> torch.Tensor:
        return slices

    def other(slices: torch.Tensor) -> torch.Tensor:
        return slices + torch.tensor([0.0, 0.003])[:, None, None]

    tie = torch.zeros(1, 2, 100, 100)
    tie[:, 0] = 1.0
    tie[0, 0, 0, :5] = 0.001
    parity = compare_labels(other, reference, [tie])
    assert parity.differing == pytest.approx(5e-4)
    assert parity.largest_margin < 1e-3
    assert parity.within(TOLERANCES["fp32"])
    tie[0, 0, :10] = 0.001
    assert not compare_labels(other, reference, [tie]).within(TOLERANCES["fp32"])


def test_auto_takes_the_fastest_and_says_so(
    exported: Path,
    spec: ModelSpec,
    network: VGG16UNet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for fastest in ("torch", "openvino", "onnx"):
        monkeypatch.setattr(selection, "_seconds", lambda engine, sample, name=fastest: 1.0 + (engine.name != name))
        with caplog.at_level(logging.INFO):
            engine = EngineChoice(spec, "auto", "fp32", exported).prepare(network, "cpu")
        assert engine.name == fastest
        assert f"engine: {engine.description}" in caplog.text


def test_auto_passes_over_an_export_of_other_weights(
    exported: Path, spec: ModelSpec, network: VGG16UNet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in exported.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    other = make_network()
    other.head.bias.data += 1
    save_model(other, spec, tmp_path)
    spec = load_model_spec(tmp_path / "model.json")
    with caplog.at_level(logging.INFO):
        engine = EngineChoice(spec, "auto", "auto", tmp_path / "model.pt").prepare(other.eval(), "cpu")
    assert isinstance(engine, TorchEngine)
    assert "model.xml is left out" in caplog.text
    assert "made of other weights" in caplog.text
    with pytest.raises(ModelMismatchError, match="made of other weights"):
        EngineChoice(spec, "openvino", "auto", tmp_path / "model.pt").prepare(other, "cpu")


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize("damage", ["truncated", "foreign", "version"])
def test_a_damaged_or_foreign_export_is_refused(
    exported: Path, spec: ModelSpec, tmp_path: Path, kind: str, damage: str
) -> None:
    path, source = export_path(tmp_path / "model.pt", kind), export_path(exported, kind)
    old = {**json.loads(ExportMetadata.of(spec, "fp32").as_json()), "format_version": 0}
    text = json.dumps(old) if damage == "version" else "{}"
    if damage == "truncated":
        content = source.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif kind == "onnx":
        model = onnx.load(source)
        onnx.helper.set_model_props(model, {METADATA_KEY: text})
        onnx.save(model, path)
    else:
        openvino = import_openvino()
        model = openvino.Core().read_model(source)
        model.set_rt_info(text, [METADATA_KEY])
        openvino.save_model(model, path)
    with pytest.raises(ModelMismatchError, match="export the model again"):
        read_metadata(path, spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is not an export by this package, or is damaged"),
        ("{}", "is not an export by this package, or is damaged"),
        ("[1]", "is not an export by this package, or is damaged"),
        ({"weights_sha256": 5}, "is not an export by this package, or is damaged"),
        ({"weights_sha256": ["a"] * 20}, "is not an export by this package, or is damaged"),
        ({"precision": "fp1"}, "is not an export by this package, or is damaged"),
        ({"model": "none"}, "is not an export by this package, or is damaged"),
        ({"format_version": True}, "is not an export by this package, or is damaged"),
        ({"format_version": 1e400}, "is not an export by this package, or is damaged"),
        ({"surprise": 1}, "is not an export by this package, or is damaged"),
        ({"format_version": 2, "monai_vggunet": "9" * 10_000}, "was written by version 9{40} in a form"),
        ({"weights_sha256": "0" * 64}, "was made of other weights"),
    ],
)
def test_what_an_export_says_of_itself_is_not_trusted(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | dict[str, object], message: str
) -> None:
    if isinstance(text, dict):
        text = json.dumps(json.loads(ExportMetadata.of(spec, "fp32").as_json()) | text)
    monkeypatch.setattr(exports, "_embedded", lambda _: text)
    with pytest.raises(ModelMismatchError, match=message) as caught:
        read_metadata(tmp_path / "model.onnx", spec)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.bin"])
def test_an_export_larger_than_any_network_is_not_opened(spec: ModelSpec, tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelMismatchError, match="has 1,099,511,627,776 bytes, more than any network takes"):
        read_metadata((tmp_path / name).with_suffix(".onnx" if name == "model.onnx" else ".xml"), spec)


def test_an_engine_that_is_not_installed_is_named(
    exported: Path, spec: ModelSpec, network: VGG16UNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    selection.import_openvino.__globals__["_core"].cache_clear()
    for name in ("openvino", "onnx"):
        with pytest.raises(EngineUnavailableError, match=rf'pip install "monai-vggunet\[{name}\]"'):
            EngineChoice(spec, name, "auto", exported).prepare(network, "cpu")
    assert isinstance(EngineChoice(spec, "auto", "auto", exported).prepare(network, "cpu"), TorchEngine)


@pytest.mark.parametrize(
    ("engine", "precision", "kind", "message"),
    [
        ("tensorrt", "auto", ConfigurationError, "engine is 'tensorrt'; expected one of auto, torch"),
        ("torch", "int4", ConfigurationError, "precision is 'int4'"),
        ("torch", "int8", ConfigurationError, "engine torch has no int8"),
        ("onnx", "bf16", ConfigurationError, "engine onnx computes in fp32"),
        ("openvino", "int8", EngineUnavailableError, "no int8 export model_int8.xml: make one with"),
        ("auto", "int8", EngineUnavailableError, "no int8 export model_int8.xml: make one with"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(
    exported: Path, spec: ModelSpec, network: VGG16UNet, engine: str, precision: str, kind: type, message: str
) -> None:
    with pytest.raises(kind, match=message):
        EngineChoice(spec, engine, precision, exported).prepare(network, "cpu")


def test_an_engine_without_its_export_is_refused(spec: ModelSpec, network: VGG16UNet, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match=r"no export model\.onnx: make it with 'monai-vggunet export'"):
        EngineChoice(spec, "onnx", "auto", tmp_path / "model.pt").prepare(network, "cpu")


def test_a_volume_gets_the_same_labels_from_every_engine(exported: Path, spec: ModelSpec, network: VGG16UNet) -> None:
    volume = 1000 * torch.rand(1, 1, 40, 56, 5, generator=torch.Generator().manual_seed(1)) - 500
    expected = VolumeSliceInferer(spec, precision="fp32", crop_body=False)(volume, network)
    assert len(expected.unique()) > 1
    for name in ("torch", "openvino", "onnx"):
        choice = EngineChoice(spec, name, "fp32", exported)
        found = VolumeSliceInferer(spec, crop_body=False, engine=choice)(volume, network)
        assert (found != expected).float().mean() < 1e-3


def test_memory_that_runs_out_in_an_engine_leads_to_smaller_batches(
    spec: ModelSpec, network: VGG16UNet, caplog: pytest.LogCaptureFixture
) -> None:
    class Small(TorchEngine):
        def run(self, slices: torch.Tensor) -> torch.Tensor:
            if len(slices) > 2:
                raise RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:223: bad allocation")
            return super().run(slices)

    volume = 1000 * torch.rand(1, 1, 32, 48, 5) - 500
    with caplog.at_level(logging.WARNING):
        found = VolumeSliceInferer(spec, crop_body=False)(volume, Small(network, "cpu", "fp32"))
    expected = VolumeSliceInferer(spec, precision="fp32", crop_body=False)(volume, network)
    assert "going on with whole slices, 2 at once" in caplog.text
    assert (found != expected).float().mean() < 1e-3


def test_openvino_tells_nobody_what_it_runs() -> None:
    code = (
        "import sys; from monai_vggunet.inference.engines.openvino_engine import import_openvino; import_openvino();"
        "print(sys.modules.get('openvino_telemetry'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_onnx_runtime_tells_nobody_what_it_runs(tmp_path: Path) -> None:
    """Its telemetry begins with the number of a session among temporary files, and what it will send in a cache."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra onnx)")
    code = "from monai_vggunet.inference.engines.onnx_engine import import_onnxruntime; import_onnxruntime()"
    folders = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **folders})
    left = {path.name for path in tmp_path.rglob("*")}
    assert not left & {".ses", "Microsoft"}, left


def test_openvino_refuses_a_precision_it_does_not_know(exported: Path) -> None:
    with pytest.raises(ConfigurationError, match="precision is 'int4'"):
        OpenVINOEngine(export_path(exported, "openvino"), "int4")


def test_other_libraries_share_the_processs_core() -> None:
    ov = import_openvino()
    own = ov.Core
    with one_core():
        assert ov.Core() is ov.Core() is ov.compile_model.__globals__["Core"]()
    assert ov.Core is ov.compile_model.__globals__["Core"] is own
