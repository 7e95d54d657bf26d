"""What clicks change in a volume, and what they must not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import affine_of, ct_array, label_array, meta_tensor, write_case

from monai_vggunet import VGG16UNet
from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.errors import ClickError
from monai_vggunet.inference import VolumeSliceInferer
from monai_vggunet.segment.segmenter import Segmenter
from monai_vggunet.training import save_model
from monai_vggunet.transforms.clicks import clicks_in_world

NAMES = ["background", "liver", "spleen"]


class Obeying(torch.nn.Module):
    """A network that finds the class of a click where there is one, background elsewhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        guidance = x[:, -3:].clone()
        guidance[:, 0] += 0.5
        return 10 * guidance


def spec(n_guidance: int = 3) -> ModelSpec:
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((-900.0, 200.0),), n_neighbors=1, n_guidance=n_guidance)
    network = {"in_channels": prep.in_channels, "out_channels": 3, "decoder_channels": [16, 16, 8, 8]}
    return ModelSpec(network, prep, NAMES)


def volume(clicks: list[list[float]], slice_spacing_mm: float = 5.0) -> torch.Tensor:
    array = ct_array(label_array())[None, None].astype(np.float32)
    image = meta_tensor(array, np.diag([1.0, 1.0, slice_spacing_mm, 1.0])[None])
    image.meta["clicks"] = np.array(clicks, dtype=float).reshape(-1, 4) * [1, 1, 1, slice_spacing_mm]
    return image


def test_clicks_reach_their_slice_and_place_alone() -> None:
    found = VolumeSliceInferer(spec(), batch_size=2)(volume([[2, 4, 9, 3]]), Obeying())[0, 0]
    assert found[4, 9, 3] == 2
    assert set(torch.nonzero(found)[:, 2].tolist()) == {3}
    assert (found == 2).sum() < 30


def test_thin_slices_near_a_click_see_it_too_and_less() -> None:
    found = VolumeSliceInferer(spec(), batch_size=2)(volume([[2, 4, 9, 3]], slice_spacing_mm=1.5), Obeying())[0, 0]
    sizes = (found == 2).sum((0, 1)).tolist()
    assert sizes[3] > sizes[2] == sizes[4] > sizes[1] == sizes[5] == 0


class Deaf(torch.nn.Module):
    """A network that finds the first class everywhere, whatever is clicked."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(x), 3, *x.shape[-2:])
        scores[:, 1] = 20
        return scores


def test_the_place_of_a_click_has_the_class_that_was_said() -> None:
    """What the network makes of it or not; and where two clicks are neighbors, each has its own place."""
    found = VolumeSliceInferer(spec())(volume([[2, 4, 9, 3], [0, 4, 11, 3]]), Deaf())[0, 0]
    assert (found[4, 9, 3], found[4, 11, 3]) == (2, 0)
    assert (found[3, 9, 3], found[4, 12, 3]) == (2, 0)
    assert (found == 1).sum() > 0.95 * found.numel()


def test_a_click_in_the_air_beside_the_body_is_heard() -> None:
    """Without clicks, what is empty around the body is not even computed."""
    assert VolumeSliceInferer(spec())(volume([[1, 0, 0, 0]]), Obeying())[0, 0, 0, 0, 0] == 1


def test_only_the_slices_asked_for_are_computed() -> None:
    inferer = VolumeSliceInferer(spec())
    inferer.only_slices = [1, 3]
    seen: list[int] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return Obeying()(x)

    inferer(volume([[2, 4, 9, 3]]), network)
    assert sum(seen) == 2


def test_clicks_of_a_batch_of_volumes_are_refused() -> None:
    two = torch.cat([volume([[1, 2, 3, 0]])] * 2)
    two.meta["clicks"] = np.array([[1, 2, 3, 0]])
    with pytest.raises(ClickError, match="clicks belong to one volume"):
        VolumeSliceInferer(spec())(two, Obeying())


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    torch.manual_seed(0)
    folder, model_spec = tmp_path_factory.mktemp("model"), spec()
    save_model(VGG16UNet(**model_spec.network), model_spec, folder)
    return Segmenter(folder / "model.pt", "cpu")


def test_correction_leaves_slices_without_clicks_untouched(guided: Segmenter, tmp_path: Path) -> None:
    """And gives what segmenting anew with the same clicks gives, for a part of the work."""
    case = write_case(tmp_path, "a", "oblique")
    batch = guided.compute(guided.load(case))
    clicks = {"liver": [[5, 6, 1]], "background": [[10, 10, 1]]}
    world = clicks_in_world(clicks, NAMES, affine_of("oblique"), (20, 16, 6))
    automatic, corrected = guided.finish(dict(batch)).labels, guided.finish(guided.correct(batch, world)).labels
    changed = {int(k) for k in np.unique(np.argwhere(automatic != corrected)[:, 2])}
    assert changed
    assert changed <= {0, 1, 2}  # slices are 3 pixels apart, and seen within 4
    anew = guided({**case, **clicks}).labels
    np.testing.assert_array_equal(corrected, anew)
    np.testing.assert_array_equal(guided.finish(dict(batch)).labels, automatic)


def test_a_model_without_clicks_says_so(tmp_path: Path) -> None:
    model_spec = spec(0)
    save_model(VGG16UNet(**model_spec.network), model_spec, tmp_path)
    segmenter = Segmenter(tmp_path / "model.pt", "cpu")
    batch = segmenter.compute(segmenter.load(write_case(tmp_path, "a")))
    with pytest.raises(ClickError, match="trained without clicks"):
        segmenter.correct(batch, np.zeros((1, 4)))
