from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torchvision.models import VGG16_BN_Weights

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.transforms import (
    NormalizeImageNet,
    NormalizeImageNetd,
    SliceChannels,
    denormalize_imagenet,
)


def numbered_volume(depth: int = 5) -> torch.Tensor:
    """Return a volume (1, 3, 4, depth) whose slice k holds the value k everywhere."""
    return torch.arange(float(depth)).expand(1, 3, 4, depth).clone()


def test_one_window_becomes_three_equal_channels() -> None:
    volume = torch.tensor([-300.0, -160.0, 40.0, 240.0, 900.0]).expand(1, 3, 4, 5)
    slices = SliceChannels("window", [(-160.0, 240.0)])(volume, range(5))
    assert slices.shape == (5, 3, 3, 4)
    assert slices[:, :, 0, 0].tolist() == [[v] * 3 for v in (0.0, 0.0, 0.5, 1.0, 1.0)]


def test_several_windows_become_one_channel_each() -> None:
    volume = torch.full((1, 3, 4, 2), 50.0)
    slices = SliceChannels("windows", [(0.0, 100.0), (40.0, 50.0), (50.0, 90.0), (0.0, 500.0)])(volume, [1])
    assert slices.shape == (1, 4, 3, 4)
    torch.testing.assert_close(slices[0, :, 0, 0], torch.tensor([0.5, 1.0, 0.0, 0.1]))


def test_neighbors_stand_around_their_slice_and_repeat_at_the_ends() -> None:
    slices = SliceChannels("neighbors", [(0.0, 10.0)], n_neighbors=3)(numbered_volume(), [0, 2, 4])
    torch.testing.assert_close(
        slices[:, :, 0, 0] * 10, torch.tensor([[0.0, 0.0, 1.0], [1.0, 2.0, 3.0], [3.0, 4.0, 4.0]])
    )


def test_neighbors_of_a_single_slice_are_the_slice_itself() -> None:
    slices = SliceChannels("neighbors", [(0.0, 1.0)], n_neighbors=5)(torch.full((1, 3, 4, 1), 0.25), [0])
    assert slices.shape == (1, 5, 3, 4)
    assert slices.unique().tolist() == [0.25]


def test_neighbors_come_once_per_window() -> None:
    slices = SliceChannels("neighbors", [(0.0, 10.0), (0.0, 20.0)])(numbered_volume(), [1])
    torch.testing.assert_close(slices[0, :, 0, 0], torch.tensor([0.0, 0.1, 0.2, 0.0, 0.05, 0.1]))


def test_color_channels_stay_in_their_order() -> None:
    picture = torch.tensor([0.1, 0.5, 0.9])[:, None, None, None].expand(3, 3, 4, 1)
    torch.testing.assert_close(SliceChannels("color", [(0.0, 1.0)])(picture, [0])[0, :, 2, 3], picture[:, 0, 0, 0])


def test_slices_come_in_the_order_that_is_asked_for() -> None:
    slices = SliceChannels("window", [(0.0, 10.0)])(numbered_volume(), [4, 0, 4])
    torch.testing.assert_close(slices[:, 0, 0, 0] * 10, torch.tensor([4.0, 0.0, 4.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.int16, torch.float64])
def test_result_is_single_precision_whatever_is_stored(dtype: torch.dtype) -> None:
    assert SliceChannels("window", [(0.0, 10.0)])(numbered_volume().to(dtype), [1]).dtype == torch.float32


def test_volume_itself_is_not_changed() -> None:
    volume = numbered_volume()
    SliceChannels("window", [(0.0, 1.0)])(volume, [3])
    assert torch.equal(volume, numbered_volume())


def test_unknown_mode_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="channels is 'rgb'; expected window, windows, neighbors or color"):
        SliceChannels("rgb", [(0.0, 1.0)])


def test_single_window_mode_takes_one_window() -> None:
    with pytest.raises(ConfigurationError, match="takes one window, got 2; use channels='windows'"):
        SliceChannels("window", [(0.0, 1.0), (0.0, 2.0)])


def test_normalization_is_that_of_torchvisions_weights() -> None:
    preset = VGG16_BN_Weights.IMAGENET1K_V1.transforms()
    image = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
    torch.testing.assert_close(NormalizeImageNet()(image), (image - mean) / std)


def test_other_numbers_of_channels_are_treated_alike() -> None:
    normalized = NormalizeImageNet()(torch.full((2, 5, 3, 4), 0.3))
    expected = (0.3 - np.mean([0.485, 0.456, 0.406])) / np.mean([0.229, 0.224, 0.225])
    torch.testing.assert_close(normalized, torch.full((2, 5, 3, 4), float(expected)))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_normalization_can_be_undone(channels: int) -> None:
    image = torch.rand(2, channels, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(denormalize_imagenet(NormalizeImageNet()(image)), image)


def test_normalization_leaves_its_input_as_it_was() -> None:
    image = MetaTensor(torch.full((3, 4, 4), 0.5))
    data = {"image": image, "label": torch.ones(1, 4, 4)}
    result = NormalizeImageNetd("image")(data)
    assert image.unique().tolist() == [0.5]
    assert not torch.equal(result["image"], image.as_tensor())
    assert result["label"] is data["label"]


# Percentiles of what was measured
