"""A trained network's files: `model.pt`, plain weights, and the `model.json` that describes them."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch import nn

from monai_vggunet.atomic_files import atomic_path, sha256_of_file
from monai_vggunet.data.model_spec import ModelSpec
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.layout import MODEL, MODEL_SPEC
from monai_vggunet.names import is_utf_8
from monai_vggunet.networks.weight_files import require_uncompressed

__all__ = ["load_weights", "log_weights", "save_model", "torch_save", "unwrapped"]

MOST_OVERHEAD = 1 << 22  # bytes of a state dict beside its numbers: names, shapes, padding

_log = logging.getLogger(__name__)


def save_model(network: nn.Module, spec: ModelSpec, folder: str | os.PathLike[str]) -> None:
    """Write `model.pt` (a plain state dict) and the `model.json` that belongs to it.

    The two are replaced one after the other; in between, `model.json` fits the old weights as well as the new ones,
    so that a kill at any moment leaves a pair that can be used.

    Raises:
        OutputWriteError: nothing was replaced.
    """
    model, description = Path(folder) / MODEL, Path(folder) / MODEL_SPEC
    former = []
    if model.is_file() and description.is_file():
        with suppress(ModelMismatchError):  # a damaged description is replaced by a whole one
            present = ModelSpec.read(description)
            # after a kill in between, the file on disk is the one before `present`
            former = [present.weights_sha256, *present.accepted_sha256] if present.digest == spec.digest else []
    spec = replace(spec, pretrained=getattr(unwrapped(network), "pretrained_source", spec.pretrained))
    weights = {name: tensor.detach().cpu() for name, tensor in unwrapped(network).state_dict().items()}
    with atomic_path(model) as temporary:
        digest = torch_save(weights, temporary)
        replace(spec, weights_sha256=digest, accepted_sha256=former).write(description)
    replace(spec, weights_sha256=digest, accepted_sha256=[]).write(description)


def load_weights(network: nn.Module, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """Load a plain state dict (`weights_only=True`) into a network and move it to a device, channels last.

    Raises:
        ModelMismatchError: the file is not a state dict, or is one of another network (lists what differs), or could
            inflate, or holds NaN or infinity.
    """
    try:
        _require_plain(Path(path), network)
        # Mapped, not read: a tensor is copied once it is found to have the shape of the network's own. (torch maps no
        # file whose path is not UTF-8.)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_utf_8(path))
        network.load_state_dict(state)
        _require_numbers(network)
    except Exception as error:
        detail = " ".join(str(error).split())[:300]
        raise ModelMismatchError(f"{path} does not fit this network: {detail}") from error
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _require_plain(path: Path, network: nn.Module) -> None:
    """Refuse a file that is larger than a network's weights, or whose parts inflate: `torch.save` compresses none."""
    expected = sum(tensor.nbytes for tensor in network.state_dict().values())
    size = path.stat().st_size
    if size > expected + MOST_OVERHEAD:
        raise ValueError(f"it has {size:,} bytes, the network's weights {expected:,}")
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not a file as torch.save writes it today; save the state dict again")
    require_uncompressed(path)


def _require_numbers(network: nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds NaN or infinity, as after a training that diverged")


def torch_save(content: Any, path: Path) -> str:
    """Save with torch and return the file's hash; torch reports a full disk as a RuntimeError.

    Given a path, torch writes its name, here a temporary one, into the file; given an open file it does not, and the
    same content makes the same file.
    """
    try:
        with path.open("wb") as file:
            torch.save(content, file)
            os.fsync(file.fileno())  # now, so that what follows it, `model.json` above all, is a matter of a moment
    except RuntimeError as error:
        system = error.__context__  # the system's own error; torch then fails on what was not written
        if isinstance(system, OSError):
            raise OSError(system.errno, system.strerror) from error
        raise OSError(errno.ENOSPC, f"torch could not write it ({error})") from error
    return sha256_of_file(path)


def unwrapped(thing: Any) -> Any:
    """Return the network within a wrapper for distributed training; anything else as it is."""
    return thing.module if isinstance(thing, nn.parallel.DistributedDataParallel) else thing


def log_weights(*networks: nn.Module) -> str:
    """Log the hash of the weights and buffers of networks and return it; under `torchrun` every process logs its own.

    Args:
        networks: the trained one, and that of its averaged weights.
    """
    digest = hashlib.sha256()
    for network in networks:
        for tensor in unwrapped(network).state_dict().values():
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    _log.info("process %d ends with weights %s", idist.get_rank(), digest.hexdigest()[:16])
    return digest.hexdigest()
