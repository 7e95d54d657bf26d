"""The quick ways to a label and to a slice give what the plain ones give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.inference import VolumeSliceInferer
from monai_vggunet.inference.most_probable import most_probable
from monai_vggunet.inference.neighborhood import SLICES_AT_ONCE, Neighborhood


@pytest.mark.parametrize("classes", [1, 2, 20])
def test_the_class_is_argmaxs_ties_too(classes: int) -> None:
    scores = torch.randint(0, 4, (3, classes, 17, 19), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(most_probable(scores).long(), scores.argmax(1, keepdim=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_scores_that_are_no_numbers_are_refused(value: float, place: int) -> None:
    scores = torch.zeros(1, 3, 8, 8)
    scores[0, place, 3, 4] = value
    with pytest.raises(ModelMismatchError, match="NaN or infinite"):
        most_probable(scores)


def test_a_network_that_gives_nan_gives_no_mask() -> None:
    network = nn.Conv2d(3, 3, 1)
    nn.init.constant_(network.weight, float("nan"))
    prep = Preprocessing(
        modality="CT", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(16, 16), windows=((-50.0, 150.0),)
    )
    inferer = VolumeSliceInferer(ModelSpec({}, prep, ["background", "a", "b"]), precision="fp32", crop_body=False)
    with pytest.raises(ModelMismatchError, match="NaN or infinite"):
        inferer(torch.rand(1, 1, 16, 16, 2), network)


@pytest.mark.parametrize("depth", [1, 5, SLICES_AT_ONCE, 2 * SLICES_AT_ONCE + 3])
@pytest.mark.parametrize("batch", [1, 3, 50])
@pytest.mark.parametrize("reach", [0, 1, 3])
def test_every_slice_has_its_own_neighbors(depth: int, batch: int, reach: int) -> None:
    volume = torch.arange(depth).float().expand(2, 3, 4, depth)
    near = Neighborhood(volume, reach)
    for start in range(0, depth, batch):
        indices = range(start, min(start + batch, depth))
        part, local = near.around(indices)
        for index, place in zip(indices, local, strict=True):
            for step in range(-reach, reach + 1):
                wanted = min(max(index + step, 0), depth - 1)
                assert torch.equal(part[..., min(max(place + step, 0), part.shape[-1] - 1)], volume[..., wanted])
