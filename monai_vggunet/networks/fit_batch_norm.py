"""Batch norms put between the convolutions of plain VGG16, so that the network computes what it did without them.

ImageNet weights exist for `vgg16` and for `vgg16_bn`. Where only those of plain `vgg16` are at hand, a batch norm that
divides by a channel's deviation and multiplies by it again changes nothing, as long as its statistics are those of the
images it sees: they are taken from the training slices. From there it trains as any other.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks.vgg_encoder import VGG16Encoder

__all__ = ["fit_batch_norm"]


class _Moments:
    """Mean and variance of each channel of what a layer is given."""

    def __init__(self, n_channels: int) -> None:
        self.count = 0
        self.sum, self.sum_of_squares = torch.zeros(2, n_channels, dtype=torch.float64)

    def __call__(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Add a batch `(B, C, H, W)`."""
        values = inputs[0].double().transpose(0, 1).flatten(1)
        self.count += values.shape[1]
        self.sum += values.sum(1).cpu()
        self.sum_of_squares += values.square().sum(1).cpu()

    def set(self, norm: nn.BatchNorm2d) -> None:
        """Give a batch norm these statistics, and the scale and shift that undo them."""
        mean = self.sum / self.count
        variance = (self.sum_of_squares / self.count - mean.square()).clamp(min=0.0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)


@torch.no_grad()
def fit_batch_norm(encoder: VGG16Encoder, images: Iterable[torch.Tensor]) -> None:
    """Set every batch norm of an encoder so that it changes nothing, in training and in evaluation mode alike.

    In evaluation mode the maps equal those of the convolutions without batch norm to the accuracy of float32, whatever
    the images; in training mode, where a batch's own statistics are used, as far as batches resemble these images.

    Args:
        encoder: a `vgg16_bn` as constructed, whose convolutions were filled with weights of plain `vgg16`: its batch
            norms change nothing yet in evaluation mode, in which it is left again if it was so before.
        images: batches `(B, C, H, W)`, normalized as in training.

    Raises:
        ConfigurationError: there are no images.

    Example:
        >>> encoder = VGG16Encoder(in_channels=1)
        >>> fit_batch_norm(encoder, [torch.rand(2, 1, 32, 32)])
        >>> norm = encoder.stages[0][1]
        >>> torch.allclose(norm.weight.square(), norm.running_var + norm.eps)
        True
    """
    norms = [layer for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    moments = [_Moments(norm.num_features) for norm in norms]
    hooks = [norm.register_forward_pre_hook(moment) for norm, moment in zip(norms, moments)]
    was_training = encoder.training
    encoder.eval()
    try:
        for batch in images:
            encoder(batch)
    finally:
        for hook in hooks:
            hook.remove()
        encoder.train(was_training)
    if not all(moment.count for moment in moments):
        raise ConfigurationError("got no images to fit batch norms to; expected one batch or more")
    for norm, moment in zip(norms, moments):
        moment.set(norm)
    encoder.lacks_statistics = False
