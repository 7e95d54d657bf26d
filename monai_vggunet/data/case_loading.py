"""One case through a pipeline of transforms, and what stopped it when one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from monai_vggunet.data.case_names import Case
from monai_vggunet.errors import DatasetError, VGGUNetError, reason_behind, refusal_behind

__all__ = ["load_case"]


def load_case(pipeline: Callable[[Any], Any], case: Case, named: bool = True) -> Mapping[str, Any]:
    """Return what a pipeline makes of one case, or refuse it in words of our own.

    MONAI wraps whatever a transform raises in a `RuntimeError` ("applying transform ..."); here the wrapping is taken
    off.

    Args:
        pipeline: from a case to its volumes, such as `loading` gives it.
        case: with `image`, and perhaps `label` and `case`.
        named: let a refusal begin with the case's name, where it has one; False if the caller names the case anyway.

    Raises:
        VGGUNetError: the refusal behind a transform that failed, of its own kind.
        DatasetError: the case cannot be read for any other reason; names the case and the reason.

    Example:
        >>> load_case(loading(), {"image": "a.nii.gz", "label": "b.nii.gz", "case": "a"})  # doctest: +SKIP
    """
    try:
        return pipeline(case)
    except (RuntimeError, VGGUNetError) as error:
        name = f"case {case['case']}" if "case" in case else case.get("label", case["image"])
        refusal = refusal_behind(error)
        if refusal is None:
            raise DatasetError(f"{name} cannot be read: {reason_behind(error)}") from error
        if named and "case" in case:
            raise refusal.reworded(f"{name}: {refusal}") from error
        raise refusal from None
