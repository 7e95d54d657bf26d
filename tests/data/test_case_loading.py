"""A case that cannot be loaded is refused in our words, by whatever part of the package loads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import Compose, Lambdad

from monai_vggunet.data.case_loading import load_case
from monai_vggunet.errors import DatasetError, GridMismatchError, ImageReadError
from monai_vggunet.outputs import write_mask
from monai_vggunet.transforms import loading

CASE = {"image": "/data/liver_07.nii.gz", "case": "liver_07"}


def failing(error: Exception) -> Compose:
    """Return a pipeline whose one transform fails."""

    def fail(_: Any) -> Any:
        raise error

    return Compose([Lambdad("image", fail)])


def test_a_loaded_case_is_what_the_pipeline_makes_of_it() -> None:
    assert load_case(Compose([Lambdad("image", str.upper)]), CASE)["image"] == "/DATA/LIVER_07.NII.GZ"


def test_a_refusal_keeps_its_kind_and_names_the_case() -> None:
    with pytest.raises(GridMismatchError, match=r"^case liver_07: another grid$"):
        load_case(failing(GridMismatchError("another grid")), CASE)


def test_a_refusal_that_nothing_wrapped_names_the_case_too() -> None:
    def refuse(_: Any) -> Any:
        raise GridMismatchError("another grid")

    with pytest.raises(GridMismatchError, match=r"^case liver_07: another grid$"):
        load_case(refuse, CASE)


def test_a_refusal_is_itself_where_its_teller_names_the_case() -> None:
    refusal = GridMismatchError("another grid")
    with pytest.raises(GridMismatchError, match=r"^another grid$") as caught:
        load_case(failing(refusal), CASE, named=False)
    assert caught.value is refusal


@pytest.mark.parametrize("named", [True, False])
def test_what_nobody_refused_is_told_with_its_reason(named: bool) -> None:
    with pytest.raises(DatasetError, match=r"^case liver_07 cannot be read: cut short$"):
        load_case(failing(ValueError("cut short\nand more")), CASE, named)


def test_a_case_without_a_name_is_told_by_its_file() -> None:
    with pytest.raises(DatasetError, match=r"^/data/liver_07\.nii\.gz cannot be read: cut short$"):
        load_case(failing(ValueError("cut short")), {"image": CASE["image"]})


def test_a_real_image_that_is_damaged_is_refused_by_its_reader(tmp_path: Path) -> None:
    write_mask(tmp_path / "image.nii.gz", np.ones((4, 4, 4), np.uint8), np.eye(4))
    whole = (tmp_path / "image.nii.gz").read_bytes()
    (tmp_path / "image.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageReadError, match=r"^case a: .*image\.nii\.gz"):
        load_case(loading(with_label=False), {"image": str(tmp_path / "image.nii.gz"), "case": "a"})


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_the_wish_to_stop_is_no_failure(signal: type[BaseException]) -> None:
    def stop(_: Any) -> Any:
        raise signal("asked")

    pipeline: Callable[[Any], Any] = stop
    with pytest.raises(signal, match="asked"):
        load_case(pipeline, CASE)
