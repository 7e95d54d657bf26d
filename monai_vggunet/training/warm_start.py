"""The network a training begins with: an encoder's weights, or a trained model that learns more cases, or clicks."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from monai_vggunet.data import ModelSpec
from monai_vggunet.data.model_spec import UNSEEN
from monai_vggunet.data.switches import SWITCH_WORDS
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.layout import spec_beside
from monai_vggunet.names import shortened
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.training.model_files import load_weights

__all__ = ["initial_network", "start_from"]


def initial_network(
    spec: ModelSpec,
    pretrained: bool | str | os.PathLike[str] | None = "auto",
    model: str | os.PathLike[str] | None = None,
) -> nn.Module:
    """Build the network of a model that is to be trained, with its first weights.

    Args:
        spec: of the model.
        pretrained: "scratch" or off (see `is_on`) for none, or what `VGG16UNet` takes.
        model: the `model.pt` of a trained model to begin with instead: see `start_from`.

    Raises:
        PretrainedWeightsError: the weights are not available or do not fit.
        ModelMismatchError: see `start_from`.
    """
    source = SWITCH_WORDS.get(str(pretrained).lower(), pretrained)
    if model is not None or source == "scratch":
        source = None
    return start_from(VGG16UNet(**spec.network, pretrained=source), spec, model)


def start_from(network: nn.Module, spec: ModelSpec, model: str | os.PathLike[str] | None) -> nn.Module:
    """Give a network the weights of a trained model; return it.

    A model without clicks can become one with clicks: the first convolution's weights for the new channels are 0, so
    that training begins with exactly the segmentation the model was trained for.

    Args:
        network: `VGG16UNet` as `spec` says.
        spec: of the model to be trained.
        model: `model.pt`, with its `model.json` beside it; None leaves the network as it is.

    Raises:
        ModelMismatchError: the model expects images prepared differently, has other classes, or is another network.
    """
    if model is None:
        return network
    path = Path(model)
    former = ModelSpec.read(spec_beside(path))
    former.require_weights(path)
    if former.class_names != spec.class_names:
        raise ModelMismatchError(
            f"{path} knows the classes {shortened(former.class_names)}, expected {shortened(spec.class_names)}: name "
            "them alike and in the same order in dataset.json, or train without --start_from"
        )
    before, now = asdict(former.preprocessing), asdict(spec.preprocessing)
    differing = [f"{name} {before[name]}, expected {now[name]}" for name in now if before[name] != now[name]]
    differing = [text for text in differing if text.split(" ")[0] not in UNSEEN]
    if differing:
        hint = "leave these overrides out, or train without --start_from"
        raise ModelMismatchError(f"{path} was trained on images prepared differently: {'; '.join(differing)}; {hint}")
    added = spec.preprocessing.n_guidance if not former.preprocessing.n_guidance else 0
    stem = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    if added:
        whole = stem.weight
        stem.weight = nn.Parameter(whole.detach()[:, :-added].clone())
    load_weights(network, path)
    if added:
        channels = [stem.weight.detach(), torch.zeros_like(whole[:, -added:])]
        stem.weight = nn.Parameter(torch.cat(channels, dim=1))
    return network
