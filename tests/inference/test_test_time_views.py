"""Views of several sizes and mirrored: what is averaged, and what comes with it."""

from __future__ import annotations

import pytest
import torch
from test_slice_inferer import WINDOW, make_inferer, make_network, make_spec, make_volume
from torch import nn

from monai_vggunet import VGG16UNet
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.inference import View, VolumeSliceInferer, views_of
from monai_vggunet.inference.test_time_views import probabilities_of_view


@pytest.mark.parametrize(
    ("tta", "expected"),
    [
        ("none", [(1.0, False)]),
        ("flip", [(1.0, False), (1.0, True)]),
        ("scale", [(0.5, False), (1.0, False), (2.0, False)]),
        ("full", [(0.5, False), (0.5, True), (1.0, False), (1.0, True), (2.0, False), (2.0, True)]),
    ],
)
def test_modes(tta: str, expected: list) -> None:
    assert views_of(tta, (0.5, 1.0, 2.0)) == tuple(View(*view) for view in expected)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("rotate",), "tta is 'rotate'; expected none, flip"),
        (("scale", ()), "expected factors"),
        (("scale", (0.0, 1.0)), "expected factors"),
        (("flip", (1.0,), ("background", "kidney_left")), "exchange left and right"),
        (("full", (1.0,), ("background", "Right-Lung")), "exchange left and right"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        views_of(*arguments)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5, 2.0])
@pytest.mark.parametrize("size", [(20, 33), (7, 5), (1, 50)])
def test_a_zoomed_view_comes_back_to_its_size_through_the_stride(scale: float, size: tuple[int, int]) -> None:
    seen = []

    def logits(slices: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(slices.shape[-2:]))
        return torch.cat([slices, -slices], 1)

    flat = torch.full((2, 1, *size), 0.7)
    result = probabilities_of_view(flat, View(scale), logits)
    torch.testing.assert_close(result, logits(flat).softmax(1))
    assert all(n % 16 == 0 for n in seen[0])
    assert all(n >= max(1, round(scale * m)) > n - 16 for n, m in zip(seen[0], size))


def test_a_zoomed_view_lies_where_the_slice_lies() -> None:
    """A half-plane's edge stays at its place: no shift by half a pixel from the way there or back."""
    image = torch.zeros(1, 1, 64, 64)
    image[..., 32:] = 1.0

    def logits(slices: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(slices), 40 * (slices - 0.5)], 1)

    for scale in (0.5, 1.5, 2.0):
        edge = probabilities_of_view(image, View(scale), logits)[0, 1, 20]
        torch.testing.assert_close(edge + edge.flip(0), torch.ones(64), atol=1e-4, rtol=0)


def test_views_are_averaged_as_probabilities() -> None:
    network, volume = make_network(), make_volume(21, 18, 3)
    inferer = make_inferer(output="probabilities", tta="full", scales=(0.5, 1.0, 1.5))
    found = inferer(volume, network).float()
    slices, (rows, columns) = inferer.network_input(volume[0], range(3))
    each = [probabilities_of_view(slices, view, network)[:, :, rows, columns] for view in inferer.views]
    torch.testing.assert_close(found[0], torch.stack(each).mean(0).permute(1, 2, 3, 0), atol=1e-3, rtol=0)


def test_disagreement_counts_the_views_that_are_against_the_result() -> None:
    network, volume = make_network(), make_volume(21, 18, 3)
    inferer = make_inferer(tta="scale", scales=(0.5, 1.0, 1.5))
    labels = inferer(volume, network)
    slices, place = inferer.network_input(volume[0], range(3))
    each = [probabilities_of_view(slices, view, network)[(..., *place)] for view in inferer.views]
    votes = torch.stack([probabilities.argmax(1) for probabilities in each])
    against = (votes != labels[0, 0].permute(2, 0, 1)).float().mean(0)
    assert inferer.disagreement is not None
    torch.testing.assert_close(
        inferer.disagreement[0, 0].float(), (100 * against).round().permute(1, 2, 0), atol=0, rtol=0
    )
    inside = labels[0, 0].permute(2, 0, 1) > 0
    sure = inferer.confidence[0].as_dict()
    assert sure["mean_disagreement"] == pytest.approx(float(against[inside].mean()), abs=1e-4)
    assert sure["views"] == 3


@pytest.mark.parametrize(("sharpness", "entropy"), [(0.0, 1.0), (100.0, 0.0)])
def test_entropy_runs_from_sure_to_all_alike(sharpness: float, entropy: float) -> None:
    def network(slices: torch.Tensor) -> torch.Tensor:
        scores = slices.new_zeros(len(slices), 4, *slices.shape[2:])
        scores[:, 2] = sharpness + 1e-3
        return scores

    inferer = make_inferer()
    inferer(make_volume(8, 8, 2), network)
    assert inferer.confidence[0].as_dict() == {
        "mean_entropy": pytest.approx(entropy, abs=1e-4),
        "mean_disagreement": None,
        "views": 1,
    }


def test_no_foreground_has_no_confidence() -> None:
    inferer = make_inferer()
    sure_of_background = torch.eye(4)[0, :, None, None]
    inferer(make_volume(8, 8, 2), lambda slices: sure_of_background.expand(len(slices), 4, *slices.shape[2:]))
    assert inferer.confidence[0].as_dict()["mean_entropy"] is None


def test_air_around_the_body_is_background_without_being_computed() -> None:
    """What the network sees is the body with a margin, in whole strides; a 1x1 network then gives the same labels."""
    sizes = []
    network = make_network(kernel=1)

    def counted(slices: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(slices.shape))
        return network(slices)

    volume = torch.full((1, 1, 200, 180, 9), -1000.0)
    volume[..., 90:121, 60:110, 3:7] = make_volume(31, 50, 4)
    cropped = make_inferer(crop_body=True)(volume, counted)
    whole = make_inferer()(volume, network)
    assert sum(size[0] for size in sizes) == 4
    assert {size[2:] for size in sizes} == {(96, 128)}
    assert torch.equal(cropped[..., 90:121, 60:110, 3:7], whole[..., 90:121, 60:110, 3:7])
    outside = torch.ones_like(cropped, dtype=torch.bool)
    outside[..., 50:160, 15:155, :] = False
    assert not cropped[outside].any()


def test_an_empty_volume_is_background() -> None:
    labels = make_inferer(crop_body=True)(torch.full((1, 1, 20, 20, 3), -1000.0), make_network())
    assert not labels.any()
    probabilities = make_inferer(output="probabilities", probability_dtype="uint8", crop_body=True)(
        torch.full((1, 1, 20, 20, 3), -1000.0), make_network()
    )
    assert (probabilities[:, 0] == 255).all()
    assert not probabilities[:, 1:].any()


def test_probabilities_as_bytes() -> None:
    network, volume = make_network(), make_volume(9, 11, 3)
    half = make_inferer(output="probabilities")(volume, network).float()
    byte = make_inferer(output="probabilities", probability_dtype="uint8")(volume, network)
    assert byte.dtype == torch.uint8
    torch.testing.assert_close(byte.float() / 255, half, atol=0.003, rtol=0)


def test_sizes_between_strides_do_not_let_the_decoder_interpolate() -> None:
    """Labels of a slice of 35 x 51 pixels are those of the slice in the middle of whole strides, as trained."""
    torch.manual_seed(0)
    network = VGG16UNet(in_channels=3, out_channels=4, decoder_channels=(8, 8, 8, 8)).eval()
    volume = torch.full((1, 1, 48, 64, 1), WINDOW[0])
    volume[:, :, 6:41, 6:57] = make_volume(35, 51, 1)
    small = make_inferer(output="probabilities")(volume[:, :, 6:41, 6:57], network)
    large = make_inferer(output="probabilities")(volume, network)[:, :, 6:41, 6:57]
    assert torch.equal(small, large)


@pytest.mark.parametrize("shape", [(10, 5000, 1), (1, 1, 1), (3, 700, 2)])
@pytest.mark.parametrize("tta", ["none", "full"])
def test_odd_shapes(shape: tuple[int, int, int], tta: str) -> None:
    labels = make_inferer(tta=tta)(make_volume(*shape), make_network())
    assert labels.shape == (1, 1, *shape)


def test_less_is_tried_when_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    network, volume = make_network(), make_volume(40, 40, 7)
    sizes = []

    def greedy(slices: torch.Tensor) -> torch.Tensor:
        sizes.append(len(slices))
        if len(slices) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(slices)

    with caplog.at_level("WARNING"):
        labels = make_inferer(batch_size=6)(volume, greedy)
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1, 1]
    assert "out of memory with whole slices, 6 at once: going on with whole slices, 3 at once" in caplog.text
    assert torch.equal(labels, make_inferer()(volume, network))


def test_windows_are_tried_when_a_slice_does_not_fit() -> None:
    network, volume = make_network(kernel=1), make_volume(600, 560, 1)

    def greedy(slices: torch.Tensor) -> torch.Tensor:
        if slices.shape[-1] * slices.shape[-2] > 300 * 300:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return network(slices)

    assert torch.equal(make_inferer()(volume, greedy), make_inferer()(volume, network))


def test_another_error_is_not_taken_for_lack_of_memory() -> None:
    def broken(slices: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("expected 3 channels")

    with pytest.raises(RuntimeError, match="expected 3 channels"):
        make_inferer()(make_volume(8, 8, 2), broken)


def test_memory_does_not_grow_with_the_number_of_classes() -> None:
    """Of 200 classes over 64 slices only labels are kept: one byte per voxel, whatever the network returns."""
    spec = make_spec()
    spec.class_names.extend(f"c{n}" for n in range(196))
    network = nn.Conv2d(3, 200, 1)
    labels = VolumeSliceInferer(spec, precision="fp32", batch_size=4)(make_volume(32, 32, 64), network)
    assert labels.element_size() * labels.numel() == 32 * 32 * 64
