"""Batch norms of an encoder that was pretrained without them, fitted to the slices that are to be trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain, cycle, islice
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from monai_vggunet.networks import find_vgg16_unet, fit_batch_norm

__all__ = ["with_fitted_norms"]

logger = logging.getLogger(__name__)

# The deepest maps of so many slices of 256 x 256 pixels hold some thousands of values per channel.
_N_SLICES = 16
_SLICES_AT_ONCE = 4
_SEED = 0


def with_fitted_norms(network: nn.Module, dataset: Any) -> nn.Module:
    """Fit the encoder's batch norms to training slices if its weights came without; return the network.

    Args:
        network: `VGG16UNet`, on the CPU.
        dataset: of the training; an item is a list of dictionaries with `image` `(C, h, w)`, and its `transform` has
            `set_random_state`. It is not touched where the encoder lacks nothing. Channels of clicks, which the trainer
            adds, stay 0.
    """
    encoder = find_vgg16_unet(network).encoder
    if encoder.lacks_statistics:
        dataset.transform.set_random_state(seed=_SEED)  # every epoch sets another
        fit_batch_norm(encoder, _batches(dataset, encoder.in_channels))
        logger.info("batch norms: fitted to %d training slices, because the encoder's weights have none", _N_SLICES)
    return network


def _batches(dataset: Any, n_channels: int) -> Iterator[torch.Tensor]:
    samples = chain.from_iterable(dataset[index] for index in cycle(range(len(dataset))))
    images = (torch.as_tensor(sample["image"]) for sample in islice(samples, _N_SLICES))
    while batch := list(islice(images, _SLICES_AT_ONCE)):
        stacked = torch.stack(batch)
        yield functional.pad(stacked, (0, 0, 0, 0, 0, n_channels - stacked.shape[1]))
