"""ImageNet weights for the encoder: from torchvision (cached or downloaded) or from a file, offline."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision.models import VGG16_BN_Weights, VGG16_Weights

from monai_vggunet.errors import ConfigurationError, PretrainedWeightsError
from monai_vggunet.names import counted
from monai_vggunet.networks.weight_files import require_uncompressed

__all__ = ["StagedEncoder", "adapt_first_filter", "load_encoder_weights"]

logger = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT_SEC = 30.0  # asked for by name: wait for a slow proxy
AUTO_TIMEOUT_SEC = 5.0  # a machine without a network must start training at once
RGB = 3
FIRST_FILTER = "0.weight"
# files saved before torch 0.4.1, torchvision's among them, lack this counter; it plays no part in inference
OPTIONAL_SUFFIX = "num_batches_tracked"
KEYS_SHOWN = 4


class StagedEncoder(Protocol):
    """What is filled: an encoder whose stages keep the numbers of torchvision's layers, as `VGG16Encoder`.

    Attributes:
        stages: one `nn.Sequential` each.
        batch_norm: whether it is `vgg16_bn`.
        in_channels: of the image.
        lacks_statistics: whether its convolutions were pretrained without batch norm: see `fit_batch_norm`.
    """

    stages: nn.ModuleList
    batch_norm: bool
    in_channels: int
    lacks_statistics: bool

    def state_dict(self) -> dict[str, Any]:
        """See `torch.nn.Module`."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """See `torch.nn.Module`."""


def load_encoder_weights(
    encoder: StagedEncoder, source: bool | str | PathLike[str] | None, stages: int | None = None
) -> str:
    """Load pretrained weights into a VGG16 encoder.

    A file holds torchvision's whole state dict (keys ``features.0.weight``, ...; the classifier is ignored) or that
    of `features` alone (keys ``0.weight``, ...). It is read with ``weights_only=True``.

    RGB weights are fitted to another number of input channels by `adapt_first_filter`. Weights of plain `vgg16` fill
    the convolutions of `vgg16_bn` too; its batch norms then lack statistics, which `fit_batch_norm` takes from images.

    Args:
        encoder: the encoder to fill.
        source: None or False: nothing is loaded; "imagenet" or True: torchvision's IMAGENET1K_V1 weights, from
            ``torch.hub.get_dir()/checkpoints`` or downloaded into it; "auto": the same, but if neither works, a
            warning is logged and the encoder stays as it is; anything else: a file's path.
        stages: only the first so many stages are loaded, and the file needs to hold no more; None for all.

    Returns:
        What the encoder now holds: "imagenet", "file:NAME" or "scratch".

    Raises:
        PretrainedWeightsError: when the weights are not available or do not fit the encoder.
        ConfigurationError: when `stages` is out of range.

    Example:
        >>> from monai_vggunet.networks import VGG16Encoder
        >>> load_encoder_weights(VGG16Encoder(), None)
        'scratch'
    """
    if stages is not None and not 1 <= stages <= len(encoder.stages):
        raise ConfigurationError(
            f"got pretrained_stages={stages}, expected 1 to {len(encoder.stages)}, or None for all"
        )
    if source is None or source is False or source == "":
        return "scratch"
    if source is True or source == "imagenet":
        path = _imagenet_file(encoder.batch_norm, DOWNLOAD_TIMEOUT_SEC)
    elif source == "auto":
        try:
            path = _imagenet_file(encoder.batch_norm, AUTO_TIMEOUT_SEC)
        except PretrainedWeightsError as error:
            logger.warning("THE ENCODER STARTS FROM SCRATCH, without ImageNet weights: %s", error)
            return "scratch"
        source = "imagenet"
    else:
        path = Path(source)
    _fill(encoder, _read(path), path, stages)
    label = "imagenet" if source is True or source == "imagenet" else f"file:{path.name}"
    logger.info("encoder weights: %s (%s stages)", label, stages or "all")
    return label


def adapt_first_filter(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """Fit an RGB filter to another number of channels so that a gray image gives the same response.

    One or two channels share the sum over R, G and B evenly. More channels take R, G, B in turn, each divided by how
    often it is used: for a multiple of three that is a factor 3 / N. In every case the sum over the channels is the
    RGB filter's own.

    Args:
        weight: ``(64, 3, 3, 3)``.
        in_channels: number of channels N wanted.

    Returns:
        ``(64, N, 3, 3)``.
    """
    if in_channels == RGB:
        return weight
    if in_channels < RGB:
        return weight.sum(dim=1, keepdim=True).repeat(1, in_channels, 1, 1) / in_channels
    color = torch.arange(in_channels) % RGB
    uses = torch.bincount(color, minlength=RGB).to(weight.dtype)
    return weight[:, color] / uses[color].view(1, -1, 1, 1)


def _imagenet_file(batch_norm: bool, timeout_sec: float) -> Path:
    """The path of torchvision's weight file, downloaded if it is not in the cache."""
    url = (VGG16_BN_Weights if batch_norm else VGG16_Weights).IMAGENET1K_V1.url
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    digest = path.stem.rsplit("-", 1)[1]  # torchvision's file names end with the first digits of their SHA-256
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(timeout_sec):
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as error:
        raise PretrainedWeightsError(
            f"ImageNet weights {name} are not in {path.parent} and could not be downloaded from {url} "
            f"({type(error).__name__}: {error}); put the file there, or pass a file's path as pretrained=, or "
            "pretrained=None to train from scratch"
        ) from error
    return path


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torch.hub takes no timeout, so the default of new sockets is set around it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read(path: Path) -> dict[str, torch.Tensor]:
    """The file's feature weights under the keys of torchvision's `features`."""
    if not path.is_file():
        raise PretrainedWeightsError(
            f"encoder weights {path} do not exist; expected 'imagenet', 'auto' or the path of a torchvision VGG16 "
            "state dict"
        )
    try:
        require_uncompressed(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, from pickle's to zipfile's
        raise PretrainedWeightsError(
            f"encoder weights {path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "expected a state dict saved by torch.save; delete and restore the file if it is damaged"
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise PretrainedWeightsError(
            f"encoder weights {path} hold {_describe(content)}, expected a state dict of tensors; save "
            "model.state_dict() alone"
        )
    return {key.removeprefix("features."): value for key, value in content.items() if not key.startswith("classifier.")}


def _fill(encoder: StagedEncoder, found: dict[str, torch.Tensor], path: Path, stages: int | None) -> None:
    """Copy the weights of the first `stages` stages, or refuse and say which keys do not fit."""
    own = _keys_by_stage(encoder)
    loaded = encoder.stages[: stages or len(own)]
    numbers = _plain_numbers(encoder) if encoder.batch_norm else {}
    lacks_statistics = bool(found) and {_number(key) for key in found} <= numbers.keys()
    if lacks_statistics:
        found = {numbers[_number(key)] + key[len(_number(key)) :]: value for key, value in found.items()}
        own = [{key: full for key, full in keys.items() if _number(key) in numbers.values()} for keys in own]
    wanted = [key for keys in own[: len(loaded)] for key in keys]
    known = {key for keys in own for key in keys}

    first = found.get(FIRST_FILTER)
    if first is not None and first.dim() == 4 and first.shape[1] == RGB:
        found = {**found, FIRST_FILTER: adapt_first_filter(first, encoder.in_channels)}

    state = encoder.state_dict()
    shapes = {key: state[full].shape for keys in own for key, full in keys.items()}
    problems = [
        _listed("missing", [key for key in wanted if key not in found and not key.endswith(OPTIONAL_SUFFIX)]),
        _listed("unexpected", [key for key in found if key not in known]),
        _listed(
            "mismatched",
            [
                f"{key} {tuple(found[key].shape)} instead of {tuple(shapes[key])}"
                for key in wanted
                if key in found and found[key].shape != shapes[key]
            ],
        ),
    ]
    text = "; ".join(problem for problem in problems if problem)
    if text:
        name = "vgg16_bn" if encoder.batch_norm else "vgg16"
        raise PretrainedWeightsError(f"{path} does not fit the {name} encoder: {text}. {_hint(encoder, found, own)}")
    full_names = {key: full for keys in own for key, full in keys.items()}
    encoder.load_state_dict({full_names[key]: found[key] for key in wanted if key in found}, strict=False)
    encoder.lacks_statistics = lacks_statistics


def _plain_numbers(encoder: StagedEncoder) -> dict[str, str]:
    """Number of each convolution in plain `vgg16`, to its number in this `vgg16_bn`, where a norm follows each."""
    layers = [pair for stage in encoder.stages for pair in stage.named_children()]
    convolutions = [number for number, layer in layers if isinstance(layer, nn.Conv2d)]
    return {str(int(number) - n_before): number for n_before, number in enumerate(convolutions)}


def _number(key: str) -> str:
    """The layer's number in a key such as "7.weight"."""
    return key.partition(".")[0]


def _keys_by_stage(encoder: StagedEncoder) -> list[dict[str, str]]:
    """Per stage: torchvision's key, as "7.weight", to the encoder's own, "stages.1.7.weight"."""
    return [
        {key: f"stages.{number}.{key}" for key in stage.state_dict()} for number, stage in enumerate(encoder.stages)
    ]


def _listed(kind: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = ", ..." if len(keys) > KEYS_SHOWN else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:KEYS_SHOWN])}{more})"


def _hint(encoder: StagedEncoder, found: dict[str, torch.Tensor], own: list[dict[str, str]]) -> str:
    """The likeliest remedy."""
    file_has_norm = any(key.endswith("running_mean") for key in found)
    if file_has_norm and not encoder.batch_norm:
        return "The file holds vgg16_bn (batch norm): pass batch_norm=True"
    whole = 0
    for keys in own:
        if any(key not in found and not key.endswith(OPTIONAL_SUFFIX) for key in keys):
            break
        whole += 1
    if whole:
        return f"The file holds the first {counted(whole, 'stage')}: pass pretrained_stages={whole} to load those alone"
    return "Expected torchvision's state dict, or that of its `features`"


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dictionary with {', '.join(map(repr, list(content)[:KEYS_SHOWN]))}"
    return f"a {type(content).__name__}"
