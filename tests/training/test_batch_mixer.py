"""Mixed batches: whatever is taken from another slice brings its label along."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.engines import default_prepare_batch

from monai_vggunet.training import BatchMixer, batch_mixer


def batch(size: int = 4) -> dict[str, Any]:
    """Slices whose image says in its first channel which slice, in its second which class a pixel belongs to."""
    number = torch.arange(size, dtype=torch.float32)[:, None, None, None].expand(size, 1, 24, 40)
    label = torch.zeros(size, 1, 24, 40)
    label[:, :, 4:10, 6:20] = 1
    label[1:, :, 14:20, 22:30] = 2
    return {"image": torch.cat([number, label], 1), "label": label}


def test_every_pixel_keeps_its_own_label() -> None:
    torch.manual_seed(0)
    own = batch()
    shares = []
    for _ in range(40):
        image, label = BatchMixer(1.0)(own, "cpu")
        assert torch.equal(image[:, 1:], label)
        before = own["label"][image[:, 0].long(), 0, torch.arange(24)[:, None], torch.arange(40)]
        assert torch.equal(label[:, 0], before), "from the same place of the slice that it came from"
        shares.append(float((image[:, :1] != own["image"][:, :1]).float().mean()))
    assert 0.05 < torch.tensor(shares).mean() < 0.5
    assert max(shares) > 0.3
    assert torch.equal(own["label"], batch()["label"]), "the loader's own tensors stay as they are"


def test_a_single_slice_has_no_partner_but_itself() -> None:
    own = batch(1)
    for _ in range(10):
        image, label = BatchMixer(1.0)(own, "cpu")
        assert torch.equal(image, own["image"])
        assert torch.equal(label, own["label"])


@pytest.mark.parametrize(("prob", "expected"), [(0.0, 0), (0.5, 100), (1.0, 200)])
def test_so_many_batches_are_mixed(prob: float, expected: int) -> None:
    torch.manual_seed(1)
    own = batch(8)
    mixed = sum(not torch.equal(BatchMixer(prob)(own, "cpu")[0], own["image"]) for _ in range(200))
    assert abs(mixed - expected) <= 30


def test_levels_without_mixing_leave_batches_to_monai() -> None:
    assert batch_mixer("standard") is batch_mixer("article") is default_prepare_batch
    assert isinstance(batch_mixer("strong"), BatchMixer)


def test_draws_follow_torchs_seed() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        found.append([BatchMixer(0.5)(batch(), "cpu")[0] for _ in range(5)])
    assert all(torch.equal(*pair) for pair in zip(*found))
