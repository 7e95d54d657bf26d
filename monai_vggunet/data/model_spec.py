"""What a model is besides its weights: `model.json`, read by inference so that preprocessing equals training's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from monai_vggunet._version import __version__
from monai_vggunet.atomic_files import sha256_of_file, write_json
from monai_vggunet.data.class_codes import ClassCodes, resolve_class_codes
from monai_vggunet.data.modality import modality_name
from monai_vggunet.data.model_limits import AXCODES, CHANNEL_MODES, PICTURE_PLANE, require_honest
from monai_vggunet.data.software_versions import software_versions
from monai_vggunet.errors import ConfigurationError, ModelMismatchError
from monai_vggunet.json_files import read_json
from monai_vggunet.json_rules import versioned, without_version

__all__ = ["AXCODES", "UNSEEN", "ModelSpec", "Preprocessing", "load_model_spec", "require_usable"]


# Attributes of preprocessing that a trained network does not depend on: crops of another size are slices on the same
# grid, and guidance is what is added to an image.
UNSEEN = frozenset({"roi_size", "n_guidance"})

LONGEST_REASON = 1000  # characters of what is wrong with a code, which is quoted
LONGEST_FILE = 1 << 20  # bytes; codes of 255 classes take a fifth of it
LARGEST_WEIGHTS = 1 << 30  # bytes; the widest network that `model_limits` allows takes half as much


@dataclass(frozen=True)
class Preprocessing:
    """From a volume in its own units to the network's input, as `transforms` carries it out.

    Attributes:
        modality: `CT` (values in HU), `MR` (per-volume percentiles) or `PICTURE` (0 to 255).
        plane: `axial`, `coronal`, `sagittal`, or `picture`.
        spacing_mm: in-plane spacing (rows, columns) the slices are brought to; the stack axis is left alone.
        channels: `window` (one window, three times), `windows` (one channel each), `neighbors` (a slice between its
            neighbors), or `color` (the picture's own).
        windows: intensity ranges (low, high) mapped to 0..1 and clipped; in HU for CT.
        n_neighbors: slices per input in the mode `neighbors`, odd.
        image_channels: channels of the image itself.
        roi_size: crop (rows, columns) of training, and the window for slices larger than `max_slice_pixels`.
        n_guidance: channels that hold a user's clicks, one per class, background first; 0 for a model without.
    """

    modality: str
    plane: str
    spacing_mm: tuple[float, float]
    roi_size: tuple[int, int]
    windows: tuple[tuple[float, float], ...]
    channels: str = "neighbors"
    n_neighbors: int = 3
    image_channels: int = 1
    n_guidance: int = 0

    def __post_init__(self) -> None:
        if self.channels not in CHANNEL_MODES:
            raise ConfigurationError(f"channels is {self.channels!r}; expected one of {', '.join(CHANNEL_MODES)}")
        if self.plane not in (*AXCODES, PICTURE_PLANE):
            raise ConfigurationError(f"plane is {self.plane!r}; expected one of {', '.join((*AXCODES, PICTURE_PLANE))}")
        if self.n_neighbors < 1 or self.n_neighbors % 2 == 0:
            raise ConfigurationError(f"n_neighbors is {self.n_neighbors}; expected an odd number such as 3")
        if not self.windows or any(low >= high for low, high in self.windows):
            raise ConfigurationError(f"windows are {self.windows}; expected pairs (low, high) with low < high")
        if any(size < 16 or size % 16 for size in self.roi_size):
            raise ConfigurationError(f"roi_size is {self.roi_size}; expected two multiples of 16")
        if any(not spacing > 0 for spacing in self.spacing_mm):
            raise ConfigurationError(f"spacing_mm is {self.spacing_mm}; expected two positive lengths in mm")

    @property
    def in_channels(self) -> int:
        """Channels of the network's input, those of clicks last."""
        if self.channels == "neighbors":
            return self.image_channels * self.n_neighbors * len(self.windows) + self.n_guidance
        if self.channels == "window":
            return 3 * self.image_channels + self.n_guidance
        return self.image_channels * len(self.windows) + self.n_guidance

    def overridden(self, overrides: Mapping[str, Any] | None) -> Preprocessing:
        """Return a copy with the user's values in place of those read off the data.

        Raises:
            ConfigurationError: a name that is not an attribute, or an invalid value.
        """
        names = {f.name for f in fields(self)}
        unknown = sorted(set(overrides or {}) - names)
        if unknown:
            raise ConfigurationError(f"cannot override {unknown}; preprocessing has {sorted(names)}")
        values = {name: _as_tuple(value) for name, value in (overrides or {}).items()}
        if "modality" in values:
            values["modality"] = modality_name(values["modality"])
        return replace(self, **values)


@dataclass(frozen=True)
class ModelSpec:
    """The content of `model.json`.

    Attributes:
        FORMAT: version of what the file's fields are and mean.
        network: arguments of `VGG16UNet`.
        preprocessing: see `Preprocessing`.
        class_names: name of each mask value, background first.
        class_codes: coded meaning per class name (`{"liver": {"scheme": "SCT", "value": ..., "meaning": ...}}`), in
            which a DICOM SEG names its segments; see `resolve_class_codes`. Classes may lack one.
        fingerprint: what was measured on the training set.
        pretrained: where the encoder's first weights came from.
        weights_sha256: hash of the `model.pt` this belongs to; empty for a template without weights.
        accepted_sha256: hashes that fit; for the moment between two renames it holds the former one too.
        versions: of the software that trained it.
    """

    FORMAT: ClassVar[int] = 1

    network: dict[str, Any]
    preprocessing: Preprocessing
    class_names: list[str]
    class_codes: ClassCodes = field(default_factory=dict)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    pretrained: str = "scratch"
    weights_sha256: str = ""
    accepted_sha256: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=software_versions)

    @property
    def label_values(self) -> tuple[int, ...]:
        """The value of each class in the masks that it was trained on, background first; a DICOM label has none."""
        return tuple(self.fingerprint.get("label_values") or range(len(self.class_names)))

    @property
    def digest(self) -> str:
        """Hash of network, preprocessing and classes: two runs with another digest are two different models."""
        content = {"network": self.network, "preprocessing": asdict(self.preprocessing), "classes": self.class_names}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ModelSpec:
        """Read `model.json`.

        Raises:
            ModelMismatchError: missing, not JSON, or not as training writes it (see `require_honest`).
        """
        source = Path(path)
        if not source.is_file():
            raise ModelMismatchError(
                f"{source} is missing: a model.pt is used together with the model.json that training wrote beside it; "
                "train a model, or name one that has both files (--model, in the bundle --ckpt_dir)"
            )
        try:
            content = without_version(read_json(source, LONGEST_FILE), cls.FORMAT)
            require_honest(content)
            spec = _spec_of(content)
        except (ValueError, OSError, RecursionError) as error:
            reason = str(error)[:LONGEST_REASON]
            raise ModelMismatchError(
                f"{source} is not a model.json of this version ({__version__}): {reason}. Train again, or use the "
                "version of monai-vggunet that wrote it"
            ) from error
        _require_consistent(spec, source)
        return spec

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write `model.json`, whole or not at all.

        Raises:
            OutputWriteError: the folder cannot be written, or the disk is full.
        """
        write_json(path, versioned(asdict(self), self.FORMAT))

    def require_weights(self, weights: str | os.PathLike[str]) -> None:
        """Make sure that the weights file is the one this specification was written for.

        Raises:
            ModelMismatchError: the file is missing, or its hash is another.
        """
        if not Path(weights).is_file():
            raise ModelMismatchError(
                f"there is no model at {weights}: train one, or name another (--model, in the bundle --ckpt_dir)"
            )
        size = Path(weights).stat().st_size
        if size > LARGEST_WEIGHTS:
            raise ModelMismatchError(
                f"{weights} has {size:,} bytes; expected up to {LARGEST_WEIGHTS:,}, more than the widest network "
                "takes: not a model of this package; restore the file"
            )
        found = sha256_of_file(weights)
        if found not in {self.weights_sha256, *self.accepted_sha256}:
            raise ModelMismatchError(
                f"{weights} (SHA-256 {found[:12]}...) is not the model that its model.json describes "
                f"({self.weights_sha256[:12] or 'a template without weights'}...): put the two files of one training "
                "run side by side"
            )


def load_model_spec(path: str | os.PathLike[str], template: Mapping[str, Any] | None = None) -> ModelSpec:
    """Read `model.json`, in a bundle that may not have been trained yet.

    Args:
        path: the file.
        template: a bundle's `metadata.json` content; where the file is missing, a specification of the network it
            declares is made from it, so that the network can be built and checked without weights. It fits no
            weights, so nothing can be segmented with it.

    Raises:
        ModelMismatchError: see `ModelSpec.read`; or the template describes no network of ours.
    """
    return ModelSpec.read(path) if template is None or Path(path).is_file() else _of_template(template)


def require_usable(spec: ModelSpec) -> None:
    """Refuse a specification that could not be read again once it is saved, before a network is trained for it.

    Raises:
        ConfigurationError: names the field, what was got and what was expected.
    """
    try:
        require_honest(asdict(spec))
    except ValueError as error:
        raise ConfigurationError(f"no model can be trained with these settings: {error}") from error
    contradiction = _contradiction(spec)
    if contradiction:
        raise ConfigurationError(f"no model can be trained with settings that contradict each other: {contradiction}")


def _spec_of(content: Mapping[str, Any]) -> ModelSpec:
    preprocessing = {name: _as_tuple(value) for name, value in content["preprocessing"].items()}
    codes = resolve_class_codes(content.get("class_codes"), content["class_names"])
    return ModelSpec(**{**content, "preprocessing": Preprocessing(**preprocessing), "class_codes": codes})


def _require_consistent(spec: ModelSpec, source: Path) -> None:
    contradiction = _contradiction(spec)
    if contradiction:
        raise ModelMismatchError(f"{source} contradicts itself: {contradiction}; restore the file that training wrote")


def _contradiction(spec: ModelSpec) -> str:
    """Return what in a specification cannot be together; nothing where all of it can."""
    declared = spec.network["in_channels"], spec.network["out_channels"]
    needed = (spec.preprocessing.in_channels, len(spec.class_names))
    if declared != needed:
        return (
            f"its network has {declared[0]} input and {declared[1]} output channels, its preprocessing and class names "
            f"need {needed[0]} and {needed[1]}"
        )
    if spec.preprocessing.n_guidance not in (0, len(spec.class_names)):
        return f"{spec.preprocessing.n_guidance} channels for clicks and {len(spec.class_names)} classes"
    if len(spec.label_values) != len(spec.class_names):
        return f"{len(spec.label_values)} values of masks and {len(spec.class_names)} classes"
    windows = len(spec.preprocessing.windows)
    if spec.preprocessing.channels == "window" and windows != 1:
        return f"channels 'window' and {windows} windows"
    return ""


def _of_template(metadata: Mapping[str, Any]) -> ModelSpec:
    try:
        spec = _template_spec(metadata)
        require_honest(asdict(spec))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelMismatchError(
            f"the bundle's metadata.json describes no network of this package ({type(error).__name__}: "
            f"{str(error)[:LONGEST_REASON]}): restore it"
        ) from error
    return spec


def _template_spec(metadata: Mapping[str, Any]) -> ModelSpec:
    formats = metadata["network_data_format"]
    names = formats["outputs"]["pred"]["channel_def"]
    preprocessing = Preprocessing(
        modality="CT", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(128, 128), windows=((-160.0, 240.0),)
    )
    network = {
        "spatial_dims": 2,
        "in_channels": formats["inputs"]["image"]["num_channels"],
        "out_channels": formats["outputs"]["pred"]["num_channels"],
        "batch_norm": True,
        "decoder_channels": [256, 128, 64, 32],
        "upsample": "deconv",
        "dropout": 0.0,
    }
    class_names = [names[k] for k in sorted(names, key=int)]
    codes = resolve_class_codes(metadata.get("class_codes"), class_names)
    return ModelSpec(network=network, preprocessing=preprocessing, class_names=class_names, class_codes=codes)


def _as_tuple(value: Any) -> Any:
    """Turn JSON's lists into the tuples of a frozen dataclass, nested ones too."""
    return tuple(_as_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value
