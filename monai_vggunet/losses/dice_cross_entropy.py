"""Cross-entropy plus Dice over the batch, the source article's MixedLoss for any number of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

from monai_vggunet.errors import ConfigurationError, ImageContentError, LabelContentError

__all__ = ["DiceCrossEntropyLoss"]

ALPHA = 0.5  # weight of the cross-entropy, the article's
BETA = 1.0  # weight of the Dice loss, the article's
SMOOTH = 1.0  # pixels added to numerator and denominator, the article's
VALUES_SHOWN = 5


class DiceCrossEntropyLoss(_Loss):
    """``alpha * cross-entropy + beta * (1 - mean Dice)`` between logits and class numbers.

    Per class k, with probabilities p (softmax) and truth t summed over every pixel of the batch,
    ``Dice_k = (2 Σ p t + smooth) / (Σ p + Σ t + smooth)``, averaged over the classes, without the background by
    default; for two classes that is the article's MixedLoss.

    `smooth` settles what a class absent from the batch's truth contributes: with nothing predicted its Dice is 1,
    with Σ p false pixels it is ``smooth / (Σ p + smooth)``. Summing over the batch instead of per slice keeps empty
    slices from dominating: an empty slice with a little false probability beside a perfect one costs 0.009 rather
    than 0.502.

    The loss is computed in float32 whatever the autocast type: a float16 sum overflows at 65504 pixels.

    Args:
        include_background: average over class 0 too.
        alpha: weight of the cross-entropy.
        beta: weight of the Dice loss.
        smooth: pixels added to numerator and denominator of the Dice.
        batch: sum the Dice over the batch; False for one Dice per item, averaged.
        label_smoothing: share of the truth spread evenly over the classes, in the cross-entropy alone.
        class_weights: K weights of the classes, in the cross-entropy alone.
        ignore_index: class number of pixels left out of both terms, such as 255; None for none.

    Raises:
        ConfigurationError: for arguments out of range.

    Example:
        >>> loss = DiceCrossEntropyLoss()
        >>> loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))
        tensor(1.2355)

    Paper: Milletari, Navab and Ahmadi, "V-Net", 2016, https://arxiv.org/abs/1606.04797 (the Dice term).
    """

    def __init__(
        self,
        include_background: bool = False,
        alpha: float = ALPHA,
        beta: float = BETA,
        smooth: float = SMOOTH,
        batch: bool = True,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | torch.Tensor | None = None,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        if alpha < 0 or beta < 0 or alpha + beta == 0:
            raise ConfigurationError(f"got alpha={alpha}, beta={beta}, expected weights of 0 or more, not both 0")
        if smooth < 0:
            raise ConfigurationError(f"got smooth={smooth}, expected 0 or more pixels")
        if not 0.0 <= label_smoothing < 1.0:
            raise ConfigurationError(f"got label_smoothing={label_smoothing}, expected a share in [0, 1)")
        self.include_background = include_background
        self.alpha = alpha
        self.beta = beta
        self.smooth = smooth
        self.batch = batch
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index
        self._dice_loss = DiceLoss(
            include_background=include_background,
            to_onehot_y=True,
            softmax=True,
            smooth_nr=smooth,
            smooth_dr=smooth,
            batch=batch,
            ignore_index=ignore_index,
        )
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        if weights is not None and (weights.dim() != 1 or bool((weights < 0).any()) or float(weights.sum()) <= 0):
            raise ConfigurationError(f"got class_weights={class_weights}, expected a list of weights, one per class")
        self.class_weights: torch.Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a float32 scalar.

        Args:
            logits: ``(B, K, H, W[, D])``.
            target: class numbers, ``(B, 1, H, W[, D])`` or ``(B, H, W[, D])``, any integer or floating type.

        Raises:
            ConfigurationError: for fewer than two classes, or another number of class weights.
            ImageContentError: when the shapes do not belong together.
            LabelContentError: when the target holds values that are not class numbers.
        """
        # a MetaTensor would carry its bookkeeping through every operation
        logits, target = _plain(logits), _plain(target)
        self._check_classes(logits)
        target = _without_channel(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            classes = self._class_numbers(target, logits.shape[1])
            loss = logits.new_zeros(())
            if self.alpha:
                loss = loss + self.alpha * self._cross_entropy(logits, classes)
            if self.beta:
                loss = loss + self.beta * self._dice_loss(logits, classes.unsqueeze(1))
        return loss

    def _cross_entropy(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        ignored = None if self.ignore_index is None else classes == self.ignore_index
        if ignored is not None:
            classes = classes.masked_fill(ignored, 0)
        # a trainer moves the network to its device, but not the loss
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        per_pixel = F.cross_entropy(
            logits, classes, weight=weights, reduction="none", label_smoothing=self.label_smoothing
        )
        weight = torch.ones_like(per_pixel) if weights is None else weights[classes]
        if ignored is not None:
            per_pixel, weight = per_pixel.masked_fill(ignored, 0), weight.masked_fill(ignored, 0)
        # torch's own mean, but zero and not NaN when every pixel is ignored
        return per_pixel.sum() / weight.sum().clamp_min(torch.finfo(torch.float32).tiny)

    def _class_numbers(self, target: torch.Tensor, count: int) -> torch.Tensor:
        """The target as int64, once it is known to hold class numbers alone (and the ignored one)."""
        classes = target.long()
        outside = (classes < 0) | (classes >= count)
        if self.ignore_index is not None:
            outside &= classes != self.ignore_index
        wrong = outside | (classes != target)
        if bool(wrong.any()):
            values = target[wrong].unique().tolist()
            raise LabelContentError(
                f"got label values {', '.join(f'{value:g}' for value in values[:VALUES_SHOWN])}"
                f"{', ...' if len(values) > VALUES_SHOWN else ''}, expected class numbers 0 to {count - 1}"
                f"{'' if self.ignore_index is None else f' or ignore_index {self.ignore_index}'}; map the labels, "
                "raise the network's out_channels, or pass ignore_index"
            )
        return classes

    def _check_classes(self, logits: torch.Tensor) -> None:
        count = logits.shape[1] if logits.dim() > 1 else 0
        if count < 2:
            raise ConfigurationError(
                f"got logits of shape {tuple(logits.shape)}, expected (batch, classes, height, width) with 2 or more "
                "classes, the background included; give the network out_channels=2 for one structure"
            )
        if self.class_weights is not None and len(self.class_weights) != count:
            raise ConfigurationError(
                f"got {len(self.class_weights)} class weights for {count} classes; pass one weight per class, the "
                "background's first"
            )


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(torch.Tensor) if type(tensor) is not torch.Tensor else tensor


def _without_channel(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The target as ``(B, H, W[, D])``."""
    expected = (logits.shape[0], *logits.shape[2:])
    if target.dim() == logits.dim() and target.shape[1] == 1:
        target = target.squeeze(1)
    if tuple(target.shape) != expected:
        raise ImageContentError(
            f"got a label of shape {tuple(target.shape)} for logits {tuple(logits.shape)}, expected {expected} or "
            f"{(expected[0], 1, *expected[1:])}: class numbers, not one-hot"
        )
    return target
