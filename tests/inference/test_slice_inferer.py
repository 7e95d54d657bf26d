"""A volume's labels are those of its slices, however they are batched, windowed or mirrored."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from torch import nn

from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.inference import VolumeSliceInferer, network_memory
from monai_vggunet.transforms import inference_postprocessing, inference_preprocessing

WINDOW = (-50.0, 150.0)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # ImageNet
N_CLASSES = 4


def make_spec(**preprocessing) -> ModelSpec:
    values = {"modality": "CT", "plane": "axial", "spacing_mm": (1.0, 1.0), "roi_size": (16, 16), "windows": (WINDOW,)}
    names = ["background", *"abc"]
    return ModelSpec(network={}, preprocessing=Preprocessing(**{**values, **preprocessing}), class_names=names)


def make_inferer(**arguments) -> VolumeSliceInferer:
    """Without the crop to the body: the untrained networks here find something in the air, too."""
    return VolumeSliceInferer(make_spec(), precision="fp32", **{"crop_body": False, **arguments})


def make_network(kernel: int = 3, in_channels: int = 3) -> nn.Module:
    torch.manual_seed(3)
    return nn.Conv2d(in_channels, N_CLASSES, kernel, padding=kernel // 2).eval()


def make_volume(*shape: int) -> torch.Tensor:
    return 400 * torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(5)) - 150


def logits_slice_by_slice(volume: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """`(1, K, X, Y, Z)` from the definition: clipped window, the slices before and after, ImageNet normalization.

    Slices lie in the middle of inputs whose sides are multiples of 16, with the window's lower end around them.
    """
    scaled = ((volume[0, 0] - WINDOW[0]) / (WINDOW[1] - WINDOW[0])).clamp(0, 1)
    rows, columns, depth = scaled.shape
    top, left = (-rows % 16) // 2, (-columns % 16) // 2
    whole = torch.zeros(16 * math.ceil(rows / 16), 16 * math.ceil(columns / 16), depth)
    whole[top : top + rows, left : left + columns] = scaled
    scaled = whole
    results = []
    for z in range(depth):
        neighbors = torch.stack([scaled[..., max(z - 1, 0)], scaled[..., z], scaled[..., min(z + 1, depth - 1)]])
        results.append(network(((neighbors - MEAN[:, None, None]) / STD[:, None, None])[None]))
    return torch.stack(results, dim=-1).detach()[:, :, top : top + rows, left : left + columns]


@pytest.mark.parametrize("shape", [(16, 16, 4), (17, 31, 5), (10, 5, 3), (33, 16, 1), (1, 1, 2)])
def test_labels_equal_those_of_the_slices_one_by_one(shape):
    network, volume = make_network(), make_volume(*shape)
    labels = make_inferer()(volume, network)
    assert labels.shape == (1, 1, *shape)
    assert labels.dtype == torch.uint8
    assert type(labels) is torch.Tensor
    assert torch.equal(labels[0, 0], logits_slice_by_slice(volume, network)[0].argmax(0).to(torch.uint8))
    assert labels.unique().numel() > 1 or shape[0] == 1


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_batch_size_does_not_change_the_labels(batch_size):
    network, volume = make_network(), make_volume(17, 12, 7)
    assert torch.equal(make_inferer(batch_size=batch_size)(volume, network), make_inferer()(volume, network))


def test_slices_are_batched_up_to_the_stated_size():
    sizes = []

    def network(slices: torch.Tensor) -> torch.Tensor:
        sizes.append(len(slices))
        return slices.new_zeros(len(slices), N_CLASSES, *slices.shape[2:])

    make_inferer(batch_size=3)(make_volume(8, 8, 7), network)
    make_inferer()(make_volume(512, 256, 3), network)
    assert sizes == [3, 3, 1, 2, 1]


@pytest.mark.parametrize(("rows", "columns", "at_once"), [(2, 2, 256), (1, 4096, 2), (40, 40, 113), (512, 512, 1)])
def test_slices_are_batched_by_the_size_that_the_network_sees(rows, columns, at_once, monkeypatch):
    monkeypatch.setattr(network_memory, "available_memory", lambda: 1 << 40)
    assert network_memory.plan_tiling(rows, columns, "cpu").batch_size == at_once


def test_several_volumes_are_segmented_each_for_itself():
    network = make_network()
    volumes = torch.cat([make_volume(9, 8, 3), make_volume(9, 8, 3).flip(-1)])
    both = make_inferer()(volumes, network)
    assert both.shape == (2, 1, 9, 8, 3)
    for number in range(2):
        assert torch.equal(both[number : number + 1], make_inferer()(volumes[number : number + 1], network))


def test_one_slice_stands_between_copies_of_itself():
    seen = []

    def network(slices: torch.Tensor) -> torch.Tensor:
        seen.append(slices * STD[:, None, None] + MEAN[:, None, None])
        return slices.new_zeros(len(slices), N_CLASSES, *slices.shape[2:])

    make_inferer()(torch.full((1, 1, 4, 4, 1), 50.0), network)
    torch.testing.assert_close(seen[0][:, :, 6:10, 6:10], torch.full((1, 3, 4, 4), 0.5))
    assert seen[0].sum() == pytest.approx(3 * 16 * 0.5, abs=1e-3)  # the lower end of the window around it


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (50, 37), (100, 12)])
def test_windows_give_the_labels_of_whole_slices(monkeypatch, rows, columns):
    """A 1x1 convolution sees no border, so that cutting must not change anything."""
    monkeypatch.setattr(network_memory, "WINDOW_SIDE", 16)
    network, volume = make_network(kernel=1), make_volume(rows, columns, 2)
    windowed = make_inferer(max_slice_pixels=100)
    assert torch.equal(windowed(volume, network), make_inferer()(volume, network))


def test_larger_slices_go_through_in_windows_of_the_stated_size(monkeypatch):
    monkeypatch.setattr(network_memory, "WINDOW_SIDE", 16)
    sizes = set()

    def network(slices: torch.Tensor) -> torch.Tensor:
        sizes.add(tuple(slices.shape[2:]))
        return slices.new_zeros(len(slices), N_CLASSES, *slices.shape[2:])

    make_inferer(max_slice_pixels=20 * 20)(make_volume(20, 20, 2), network)
    assert sizes == {(32, 32)}  # whole strides
    sizes.clear()
    make_inferer(max_slice_pixels=20 * 20 - 1)(make_volume(20, 20, 2), network)
    assert sizes == {(16, 16)}


@pytest.mark.parametrize("tta", ["none", "flip", "full"])
@pytest.mark.parametrize("max_slice_pixels", [10_000, 100])
def test_probabilities_sum_to_one(monkeypatch, tta, max_slice_pixels):
    monkeypatch.setattr(network_memory, "WINDOW_SIDE", 16)
    inferer = make_inferer(output="probabilities", tta=tta, max_slice_pixels=max_slice_pixels)
    probabilities = inferer(make_volume(20, 24, 3), make_network())
    assert probabilities.shape == (1, N_CLASSES, 20, 24, 3)
    assert probabilities.dtype == torch.float16
    torch.testing.assert_close(probabilities.float().sum(1), torch.ones(1, 20, 24, 3), atol=2e-3, rtol=0)


def test_probabilities_are_the_softmax_of_the_logits():
    network, volume = make_network(), make_volume(9, 11, 3)
    probabilities = make_inferer(output="probabilities")(volume, network)
    expected = logits_slice_by_slice(volume, network).softmax(1)
    torch.testing.assert_close(probabilities.float(), expected, atol=1e-3, rtol=0)


def test_flip_views_average_the_slice_and_its_mirror_image():
    network, volume = make_network(), make_volume(9, 11, 3)
    probabilities = make_inferer(output="probabilities", tta="flip")(volume, network)
    as_is = logits_slice_by_slice(volume, network).softmax(1)
    mirrored = logits_slice_by_slice(volume.flip(3), network).softmax(1).flip(3)
    assert not torch.allclose(as_is, mirrored, atol=0.01)
    torch.testing.assert_close(probabilities.float(), (as_is + mirrored) / 2, atol=1e-3, rtol=0)
    labels = make_inferer(tta="flip")(volume, network)
    assert torch.equal(labels[:, 0], (as_is + mirrored).argmax(1).to(torch.uint8))


def test_channels_follow_the_model_specification():
    spec = make_spec(channels="windows", windows=((0.0, 100.0), (-100.0, 0.0)))
    seen = []

    def network(slices: torch.Tensor) -> torch.Tensor:
        seen.append(slices)
        return slices.new_zeros(len(slices), N_CLASSES, *slices.shape[2:])

    VolumeSliceInferer(spec, precision="fp32", crop_body=False)(torch.full((1, 1, 4, 4, 2), -50.0), network)
    mean, std = MEAN.mean(), STD.mean()  # not three channels: each is normalized alike
    expected = ((torch.tensor([0.0, 0.5]) - mean) / std)[None, :, None, None].expand(2, 2, 4, 4)
    torch.testing.assert_close(seen[0][:, :, 6:10, 6:10], expected)


def test_result_can_be_written_to_outside_of_inference_mode():
    labels = make_inferer()(make_volume(4, 4, 2), make_network())
    labels += 1
    assert not labels.is_inference()
    assert labels.min() >= 1


def test_affine_and_history_of_the_volume_are_kept():
    affine = torch.diag(torch.tensor([0.5, 0.7, 3.0, 1.0], dtype=torch.float64))
    volume = list_data_collate([{"image": MetaTensor(make_volume(8, 8, 3)[0], affine=affine, meta={"case": "a"})}])
    labels = make_inferer()(volume["image"], make_network())
    assert isinstance(labels, MetaTensor)
    (item,) = decollate_batch({"pred": labels})
    assert torch.equal(item["pred"].affine, affine)
    assert item["pred"].meta["case"] == "a"


def test_labels_are_inverted_onto_the_source_grid(tmp_path):
    """Through preprocessing and back, a threshold on intensities lands on the very voxels it was taken from."""
    values = (np.random.default_rng(1).random((12, 9, 4)) > 0.5) * 100.0
    affine = np.array([[-1.0, 0, 0, 20], [0, 0, 4.0, -30], [0, -1.0, 0, 10], [0, 0, 0, 1]])  # coronal stack, LIA
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), tmp_path / "a.nii.gz")
    preprocessing = inference_preprocessing(make_spec(plane="coronal"))
    network = nn.Conv2d(3, N_CLASSES, 1)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    with torch.no_grad():
        network.weight[1, 1] = 1.0  # class 1 where the middle slice is above ImageNet's mean, else class 0 or later
        network.weight[2, 1] = -1.0
    batch = list_data_collate([preprocessing({"image": str(tmp_path / "a.nii.gz")})])
    assert batch["image"].shape[2:] != values.shape
    batch["pred"] = make_inferer()(batch["image"], network)
    (item,) = [inference_postprocessing(preprocessing)(case) for case in decollate_batch(batch)]
    np.testing.assert_allclose(item["pred"].affine.numpy(), affine, atol=1e-6)
    np.testing.assert_array_equal(item["pred"][0].numpy(), np.where(values > 50, 1, 2))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"output": "logits"}, "output is 'logits'; expected 'labels' or 'probabilities'"),
        ({"overlap": 1.0}, r"overlap is 1\.0; expected a share from 0"),
        ({"overlap": -0.1}, r"overlap is -0\.1; expected a share from 0"),
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more"),
        ({"batch_size": -1}, "batch_size is -1; expected 1 or more"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        make_inferer(**arguments)


def test_unknown_precision_is_refused_when_the_inferer_is_made():
    with pytest.raises(ConfigurationError, match="precision is 'int8'"):
        VolumeSliceInferer(make_spec(), precision="int8")
