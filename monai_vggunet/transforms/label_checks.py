"""A loaded label as class numbers: values are turned into classes, and values that are no class are refused."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_vggunet.data.label_values import CLASS_NUMBERS, dataset_line, values_in
from monai_vggunet.data.model_limits import LARGEST_LABEL, MOST_CLASSES
from monai_vggunet.errors import LabelContentError
from monai_vggunet.names import MOST_NAMED
from monai_vggunet.transforms.volume_checks import source_name

__all__ = ["CheckLabeld"]

_MOST_SHOWN = 5  # of the values that a message quotes


class CheckLabeld(MapTransform):
    """Turn the values of a label into class numbers, uint8, and refuse one that holds others.

    Which value is which class says the case itself, if its data set states that (`label_values`, see
    `monai_vggunet.data.label_values`), else `values`. DICOM SEG and RTSTRUCT were drawn as class numbers.

    Args:
        keys: the label's key.
        n_classes: number of classes, background included; None accepts any whole numbers.
        values: the value of each class, background first; None for the class numbers themselves.

    Returns:
        The label as uint8. Where nothing says which values are classes, it keeps its own whole numbers, as int32 if
        they need it.

    Raises:
        LabelContentError: lists the values that are not class numbers.
    """

    def __init__(
        self,
        keys: KeysCollection,
        n_classes: int | None = None,
        allow_missing_keys: bool = False,
        values: Sequence[int] | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.n_classes, self.values = n_classes, tuple(values or ())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check and cast every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            label = d[key]
            found = torch.unique(label.as_tensor()).tolist()
            values = () if label.meta.get(CLASS_NUMBERS) else values_in(d) or self.values
            if self.n_classes is None and _is_plain(values):
                _require_whole(found, label)
                fits = found[0] >= 0 and found[-1] < MOST_CLASSES
                d[key] = label.to(torch.uint8 if fits else torch.int32)
                continue
            values = values or tuple(range(self.n_classes or MOST_CLASSES))
            values = values[: self.n_classes or MOST_CLASSES]
            _require_known(found, values, label)
            d[key] = label.to(torch.uint8) if _is_plain(values) else _numbered(label, values)
        return d


def _require_whole(found: Sequence[float], label: MetaTensor) -> None:
    wrong = [value for value in found if not (_is_whole(value) and abs(value) <= LARGEST_LABEL)]
    if wrong:
        raise LabelContentError(
            f"{source_name(label)} holds the values {_first(wrong)}; expected whole class numbers: a mask that was "
            "scaled, smoothed or holds probabilities. Correct the label"
        )


def _require_known(found: Sequence[float], values: tuple[int | None, ...], label: MetaTensor) -> None:
    wrong = [value for value in found if value not in values]
    if not wrong:
        return
    numbers = f"whole class numbers from 0 to {len(values) - 1}"
    known = [value for value in values if value is not None]
    expected = numbers if _is_plain(values) else f"{', '.join(map(str, known))}, one for each class"
    few = len(found) <= MOST_NAMED and all(map(_is_whole, found))
    line = f" ({dataset_line([int(value) for value in found])})" if few else ""
    raise LabelContentError(
        f"{source_name(label)} holds the values {_first(wrong)}; expected {expected}. Name every class in "
        f"dataset.json{line}, or correct the label"
    )


def _is_plain(values: tuple[int | None, ...]) -> bool:
    """Whether values are the class numbers themselves; true if none are stated."""
    return values == tuple(range(len(values)))


def _is_whole(value: float) -> bool:
    return float(value).is_integer()  # neither NaN nor infinity is


def _first(values: Sequence[float]) -> str:
    return f"{list(values[:_MOST_SHOWN])}{' ...' if len(values) > _MOST_SHOWN else ''}"


def _numbered(label: MetaTensor, values: Sequence[int | None]) -> MetaTensor:
    """Return a label with class numbers for its values, all of which are known."""
    pairs = sorted((value, number) for number, value in enumerate(values) if value is not None)
    known, order = torch.tensor(pairs).unbind(1)
    numbers = order[torch.searchsorted(known.contiguous(), label.as_tensor().long())].to(torch.uint8)
    return MetaTensor(numbers, meta=label.meta)


CheckLabelD = CheckLabelDict = CheckLabeld
