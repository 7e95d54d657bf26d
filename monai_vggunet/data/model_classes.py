"""The classes of a data set as a trained model numbers them: they are matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from monai_vggunet.data.class_names import BACKGROUND
from monai_vggunet.data.datalist import Datalist
from monai_vggunet.data.label_values import LABEL_VALUES, as_text, values_in
from monai_vggunet.dicom.annotations.segment_names import same_name
from monai_vggunet.errors import DatasetError
from monai_vggunet.names import shortened

__all__ = ["numbered_as", "unnamed_classes"]


def unnamed_classes(count: int) -> list[str]:
    """Return names for classes of which the data set names none, background first.

    Example:
        >>> unnamed_classes(3)
        ['background', 'class 1', 'class 2']
    """
    return [BACKGROUND, *(f"class {number}" for number in range(1, count))]


def numbered_as(listed: Datalist, class_names: Sequence[str]) -> Datalist:
    """Return a list of cases whose labels are read with the class numbers of a model.

    A data set may list the model's classes in another order, give them other values, or lack some of them. Where the
    data set or the model has no names, classes are the same by their numbers.

    Args:
        listed: the cases of a data set, with the names and the class numbers that `dataset.json` states.
        class_names: of the model, background first.

    Raises:
        DatasetError: the data set names a class that the model does not have.

    Example:
        >>> numbered_as(Datalist([], [], ["background", "spleen"], segments={"spleen": 1}),
        ...             ["background", "liver", "spleen"]).segments
        {'spleen': 2}
    """
    stated, known = listed.class_names, [same_name(name) for name in class_names]
    if (
        not (stated and known)
        or list(class_names) == unnamed_classes(len(class_names))
        or list(map(same_name, stated)) == known
    ):
        return listed
    number_of = [0, *(_number_in(known, listed, number) for number in range(1, len(stated)))]
    unknown = [name for name, number in zip(stated, number_of) if number is None]
    if unknown:
        raise DatasetError(
            f"dataset.json names the classes {shortened(unknown)}, which the model does not have; its classes are "
            f"{shortened(list(class_names))}: call the same classes by the same names, or take out what is to be "
            "background"
        )
    placed = [number for number in number_of if number is not None]
    segments = {name: placed[number] for name, number in listed.segments.items()}

    def renumbered(case: dict[str, str]) -> dict[str, str]:
        values = values_in(case)
        value_of = dict(zip(placed, values))
        own = {LABEL_VALUES: as_text([value_of.get(number) for number in range(len(known))])} if values else {}
        return case | own

    return replace(
        listed,
        training=[renumbered(case) for case in listed.training],
        validation=[renumbered(case) for case in listed.validation],
        class_names=list(class_names),
        segments=segments,
    )


def _number_in(known: Sequence[str], listed: Datalist, number: int) -> int | None:
    """Return the model's number of a class, by its name or by that of a segment that belongs to it."""
    names = [listed.class_names[number], *(name for name, own in listed.segments.items() if own == number)]
    return next((known.index(same_name(name)) for name in names if same_name(name) in known[1:]), None)
