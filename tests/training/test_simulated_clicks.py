"""Simulated clicks: in the largest error, of the true class, or insisting; and a network learns to obey them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.training import SimulatedClicks, largest_error


class Blind(torch.nn.Module):
    """Finds background everywhere; keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.norm = torch.nn.BatchNorm2d(3)
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        self.norm(x[:, :3])
        scores = torch.zeros(len(x), 3, *x.shape[-2:])
        scores[:, 0] = 1
        return scores * self.weight


def batch() -> dict[str, torch.Tensor]:
    label = torch.zeros(4, 1, 32, 32)
    label[:, 0, 4:14, 4:14], label[:, 0, 20:23, 20:23] = 1, 2
    return {"image": torch.rand(4, 1, 32, 32), "label": label}


def run(simulation: SimulatedClicks, data: dict[str, torch.Tensor], seen: list[Any] | None = None) -> Blind:
    """Run one iteration; the loss keeps the label in `seen`."""
    network = Blind()

    def loss(found: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        if seen is not None:
            seen.append(label)
        return found.mean()

    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[data],  # type: ignore[arg-type]
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=loss,
        inferer=SimpleInferer(),
        iteration_update=simulation,
    ).run()
    return network


def test_the_first_click_falls_into_the_largest_error_and_says_its_class() -> None:
    torch.manual_seed(0)
    simulation = SimulatedClicks(3, automatic_share=0.0, override_share=0.0, max_clicks=1, near_share=0.0)
    guidance = run(simulation, batch()).seen[-1][:, 1:]
    for sample in guidance:
        row, column = divmod(int(sample[1].argmax()), 32)
        assert 4 <= row < 14
        assert 4 <= column < 14
        assert sample[1].max() == 1.0
        assert not sample[[0, 2]].any()


def test_samples_left_alone_have_empty_guidance() -> None:
    guidance = run(SimulatedClicks(3, automatic_share=1.0), batch()).seen[-1][:, 1:]
    assert guidance.shape == (4, 3, 32, 32)
    assert not guidance.any()


def test_an_override_changes_the_label_to_the_class_that_is_clicked() -> None:
    torch.manual_seed(1)
    data, labels = batch(), []
    insisting = SimulatedClicks(3, automatic_share=0.0, override_share=1.0, max_clicks=1, near_share=0.0)
    network = run(insisting, data, labels)
    changed = labels[-1] != data["label"]
    for sample, where, label in zip(network.seen[-1][:, 1:], changed[:, 0], labels[-1][:, 0]):
        number = int(label[where][0])
        assert (label[where] == number).all()
        assert (sample[number][where]).max() == 1.0
    assert torch.equal(data["label"], batch()["label"])  # the data set's own labels stay


def test_a_click_from_a_slice_nearby_is_a_weaker_spot_near_the_error() -> None:
    torch.manual_seed(0)
    simulation = SimulatedClicks(3, automatic_share=0.0, override_share=0.0, max_clicks=1, near_share=1.0)
    peaks = []
    for _ in range(5):
        for sample in run(simulation, batch()).seen[-1][:, 1:]:
            row, column = divmod(int(sample[1].argmax()), 32)
            assert 0 <= row < 18
            assert 0 <= column < 18
            peaks.append(float(sample[1].max()))
    assert 0.1 < min(peaks) < 0.5 < max(peaks) < 1.0


def test_samples_without_clicks_are_never_shaded() -> None:
    torch.manual_seed(0)
    data = batch()
    seen = run(SimulatedClicks(3, automatic_share=1.0, shaded_share=1.0), data).seen[-1][:, :1]
    assert torch.equal(seen, data["image"])
    given = data["image"].clone()
    seen = run(SimulatedClicks(3, automatic_share=0.0, shaded_share=1.0), data).seen[-1][:, :1]
    assert not torch.isclose(seen, given).all(3).all(2).any()
    assert torch.equal(data["image"], given)  # a cached image stays as it is


def test_asking_the_network_leaves_its_statistics_alone() -> None:
    """Five looks, one of them in training: the statistics moved once."""
    torch.manual_seed(0)
    network = run(SimulatedClicks(3, automatic_share=0.0, max_clicks=3), batch())
    assert int(network.norm.num_batches_tracked) == 1
    assert len(network.seen) > 1


def test_draws_follow_torchs_seed() -> None:
    inputs = []
    for _ in range(2):
        torch.manual_seed(5)
        inputs.append(run(SimulatedClicks(3), batch_of(7)).seen[-1])
    assert torch.equal(*inputs)


def batch_of(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {**batch(), "image": torch.rand(4, 1, 32, 32, generator=generator)}


def test_the_largest_region_is_found_in_two_and_three_dimensions() -> None:
    for shape in ((9, 9), (9, 9, 3)):
        wrong = np.zeros(shape, bool)
        wrong[0, 0], wrong[4:7, 4:7] = True, True
        found = largest_error(wrong)
        assert found is not None
        assert found[5, 5].all()
        assert not found[0, 0].any()
    assert largest_error(np.zeros((3, 3), bool)) is None


@pytest.mark.parametrize("wrong", [{"automatic_share": 1.5}, {"override_share": -0.1}, {"max_clicks": 0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        SimulatedClicks(3, **wrong)
