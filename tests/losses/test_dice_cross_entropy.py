"""The loss equals the article's MixedLoss for two classes, and refuses what it cannot mean."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional as F

from monai_vggunet.errors import ConfigurationError, ImageContentError, LabelContentError
from monai_vggunet.losses import DiceCrossEntropyLoss


def random_case(classes: int = 2, shape: tuple[int, ...] = (3, 12, 10)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    return logits, torch.randint(classes, shape, generator=generator)


def article_mixed_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The article's formula, written out: 0.5 cross-entropy + 1.0 Dice on class 1, smooth 1."""
    cross_entropy = F.cross_entropy(logits, target)
    probability = logits.softmax(dim=1)[:, 1].reshape(-1)
    truth = (target == 1).float().reshape(-1)
    dice = (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)
    return 0.5 * cross_entropy + 1.0 * (1 - dice)


def test_two_classes_equal_the_article_formula():
    logits, target = random_case()
    torch.testing.assert_close(DiceCrossEntropyLoss()(logits, target), article_mixed_loss(logits, target))


def test_two_classes_have_the_article_gradient():
    logits, target = random_case()
    ours, article = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    DiceCrossEntropyLoss()(ours, target).backward()
    article_mixed_loss(article, target).backward()
    torch.testing.assert_close(ours.grad, article.grad)


def test_empty_slice_beside_a_perfect_one_hardly_counts():
    """Two CT-sized slices, one half foreground and one empty, every pixel right with 99.55 % certainty."""
    target = torch.zeros(2, 512, 512)
    target[0, :256] = 1
    margin = torch.logit(torch.tensor(0.9955))
    logits = torch.stack([torch.zeros(2, 512, 512), torch.where(target == 1, margin, -margin)], dim=1)
    assert DiceCrossEntropyLoss(alpha=0)(logits, target).item() == pytest.approx(0.009, abs=5e-4)
    assert DiceCrossEntropyLoss(alpha=0, batch=False)(logits, target).item() == pytest.approx(0.502, abs=5e-4)


def test_perfect_prediction_costs_nothing():
    target = random_case(4)[1]
    logits = 50.0 * F.one_hot(target, 4).movedim(-1, 1)
    assert DiceCrossEntropyLoss()(logits, target).item() == pytest.approx(0, abs=1e-5)


def test_dice_is_averaged_over_the_foreground_classes():
    logits, target = random_case(4)
    probability, truth = logits.softmax(1), F.one_hot(target, 4).movedim(-1, 1).float()
    dice = (2 * (probability * truth).sum((0, 2, 3)) + 1) / ((probability + truth).sum((0, 2, 3)) + 1)
    assert DiceCrossEntropyLoss(alpha=0)(logits, target).item() == pytest.approx(1 - dice[1:].mean().item(), abs=1e-6)
    with_background = DiceCrossEntropyLoss(alpha=0, include_background=True)(logits, target)
    assert with_background.item() == pytest.approx(1 - dice.mean().item(), abs=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"label_smoothing": 0.1},
        {"class_weights": [0.2, 1.0, 3.0]},
        {"label_smoothing": 0.1, "class_weights": torch.tensor([0.2, 1.0, 3.0])},
    ],
)
def test_cross_entropy_is_torch_own(arguments):
    logits, target = random_case(3)
    weight = arguments.get("class_weights")
    expected = F.cross_entropy(
        logits,
        target,
        weight=None if weight is None else torch.as_tensor(weight),
        label_smoothing=arguments.get("label_smoothing", 0.0),
    )
    torch.testing.assert_close(DiceCrossEntropyLoss(alpha=1, beta=0, **arguments)(logits, target), expected)


@pytest.mark.parametrize("ignored", [255, -100])
def test_ignored_pixels_play_no_part(ignored):
    logits, target = random_case(3)
    target[:, :4] = ignored
    loss = DiceCrossEntropyLoss(ignore_index=ignored, label_smoothing=0.1, class_weights=[1.0, 2.0, 3.0])
    without = DiceCrossEntropyLoss(label_smoothing=0.1, class_weights=[1.0, 2.0, 3.0])
    value = loss(logits, target)
    torch.testing.assert_close(value, without(logits[:, :, 4:], target[:, 4:]))
    changed = logits.clone()
    changed[:, :, :4] = 7.0
    torch.testing.assert_close(loss(changed, target), value)


def test_all_pixels_ignored_is_no_nan():
    logits, target = random_case()
    loss = DiceCrossEntropyLoss(ignore_index=255)(logits.requires_grad_(), torch.full_like(target, 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.count_nonzero(logits.grad) == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_target_may_have_a_channel_and_any_type(dtype):
    logits, target = random_case(3)
    expected = DiceCrossEntropyLoss()(logits, target)
    assert DiceCrossEntropyLoss()(logits, target.to(dtype)) == expected
    assert DiceCrossEntropyLoss()(logits, target[:, None].to(dtype)) == expected


def test_volumes_work():
    logits, target = random_case(3, (2, 6, 5, 4))
    assert DiceCrossEntropyLoss()(logits, target[:, None]) == DiceCrossEntropyLoss()(logits, target)


def test_meta_tensors_give_a_plain_loss():
    logits, target = random_case()
    loss = DiceCrossEntropyLoss()(MetaTensor(logits), MetaTensor(target[:, None]))
    assert type(loss) is torch.Tensor
    assert loss == DiceCrossEntropyLoss()(logits, target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_do_not_overflow(dtype):
    logits = torch.zeros(1, 2, 400, 400, dtype=dtype)  # 80000 summed probabilities, more than float16 holds
    target = torch.zeros(1, 400, 400)
    with torch.autocast("cpu", torch.bfloat16):
        loss = DiceCrossEntropyLoss()(logits, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.5 * 0.693147 + 1 - 1 / 80001, abs=1e-5)


def test_label_that_is_no_class_is_refused():
    logits, target = random_case()
    target[0, 0, 0], target[1, 0, 0] = 7, -1
    with pytest.raises(LabelContentError, match=r"got label values -1, 7, expected class numbers 0 to 1"):
        DiceCrossEntropyLoss()(logits, target)


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_label_between_classes_is_refused(value):
    logits, target = random_case()
    with pytest.raises(LabelContentError, match=f"got label value.*{value}"):
        DiceCrossEntropyLoss()(logits, torch.full(target.shape, value))


def test_sigmoid_network_is_refused():
    with pytest.raises(ConfigurationError, match=r"2 or more classes.*out_channels=2"):
        DiceCrossEntropyLoss()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("shape", [(3, 2, 12, 10), (3, 11, 10), (2, 12, 10)])
def test_label_of_another_shape_is_refused(shape):
    with pytest.raises(ImageContentError, match="got a label of shape"):
        DiceCrossEntropyLoss()(random_case()[0], torch.zeros(shape))


def test_class_weights_of_another_number_are_refused():
    logits, target = random_case()
    with pytest.raises(ConfigurationError, match="got 3 class weights for 2 classes"):
        DiceCrossEntropyLoss(class_weights=[1, 1, 1])(logits, target)


@pytest.mark.parametrize(
    "arguments",
    [{"alpha": -1}, {"alpha": 0, "beta": 0}, {"smooth": -1}, {"label_smoothing": 1.0}, {"class_weights": []}],
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ConfigurationError, match=f"got .*{next(iter(arguments))}"):
        DiceCrossEntropyLoss(**arguments)


def test_loss_keeps_nothing_in_checkpoints():
    assert DiceCrossEntropyLoss(class_weights=[1, 2]).state_dict() == {}
