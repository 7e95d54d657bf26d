from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_phantoms import write_series
from phantoms import affine_of, ct_array, label_array, write_case, write_nifti
from PIL import Image

from monai_vggunet.data import Datalist, Fingerprint, compute_fingerprint, plan, plan_batch_size, plan_model
from monai_vggunet.errors import ConfigurationError, DatasetError, GridMismatchError, ImageReadError, LabelContentError
from monai_vggunet.transforms import loading

FINGERPRINT = Fingerprint(
    n_cases=4,
    modality="CT",
    plane="axial",
    in_plane_spacing_mm=(0.8, 0.7),
    slice_spacing_mm=5.0,
    in_plane_size=(100, 70),
    n_slices=30,
    image_channels=1,
    foreground_percentiles=(0.0, 60.0, 400.0),
    class_names=("background", "liver", "spleen"),
    class_voxels=(10_000, 400, 100),
    class_volumes_ml=((1.0, 2.0, 3.0),) * 3,
)


def fingerprint_of(*cases: dict[str, str], validation: tuple[dict[str, str], ...] = (), **options: Any) -> Fingerprint:
    modality = options.pop("override", None)
    return compute_fingerprint(Datalist(list(cases), list(validation), **options), loading(), modality)


def write_picture(root: Path, name: str, color: bool) -> dict[str, str]:
    shape = (12, 20, 3) if color else (12, 20)  # rows, columns
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    label = np.zeros(shape[:2], dtype=np.uint8)
    label[2:5, 3:9] = 1
    for kind, array in (("images", pixels), ("labels", label)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / kind / f"{name}.png")
    return {"image": str(root / "images" / f"{name}.png"), "label": str(root / "labels" / f"{name}.png"), "case": name}


def test_settings_with_which_no_model_could_be_read_again_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="contradict each other: channels 'window' and 2 windows"):
        plan_model(FINGERPRINT, overrides={"channels": "window", "windows": [[0, 1], [1, 2]]})


# Measured


def test_phantom_is_measured_as_computed_by_hand(tmp_path: Path) -> None:
    # Voxels of 1 x 2 x 5 mm are 0.01 mL. The array's first axis runs along the patient's left-right axis, so a row of
    # the picture has 20 pixels of 1 mm, a column 16 of 2 mm. Class 1: 7 * 5 * 3 voxels, class 2: 3 * 8 * 1.
    label = label_array()
    image = np.zeros(label.shape, dtype=np.float32)
    image[label == 1], image[label == 2] = 100.0, 50.0
    image[0, 0, 0] = -1000.0
    affine = affine_of("axial", (1.0, 2.0, 5.0))
    case = {"image": str(write_nifti(tmp_path / "i.nii.gz", image, affine)), "case": "a"}
    case["label"] = str(write_nifti(tmp_path / "l.nii.gz", label, affine))
    found = fingerprint_of(case)
    assert found.stored() == {
        "n_cases": 1,
        "modality": "CT",
        "plane": "axial",
        "in_plane_spacing_mm": (2.0, 1.0),
        "slice_spacing_mm": 5.0,
        "in_plane_size": (16, 20),
        "n_slices": 6,
        "image_channels": 1,
        "foreground_percentiles": (50.0, 100.0, 100.0),
        "class_names": ("background", "class 1", "class 2"),
        "class_voxels": (20 * 16 * 6 - 105 - 24, 105, 24),
        "class_volumes_ml": ((17.91, 17.91, 17.91), (1.05, 1.05, 1.05), (0.24, 0.24, 0.24)),
        "label_values": (0, 1, 2),
    }


def test_several_cases_are_summed_up(tmp_path: Path) -> None:
    first = write_case(tmp_path, "a", spacing_mm=(1.0, 1.0, 3.0))
    second = write_case(tmp_path, "b", spacing_mm=(2.0, 2.0, 6.0))
    third = write_case(tmp_path, "c", spacing_mm=(1.0, 1.0, 3.0), shape=(40, 32, 12))
    found = fingerprint_of(first, second, third, class_names=["background", "liver", "spleen", "kidney"])
    assert found.n_cases == 3
    assert found.in_plane_spacing_mm == (1.0, 1.0)
    assert found.slice_spacing_mm == 3.0
    assert found.in_plane_size == (32, 40)  # the second case's slices have that size at the median spacing
    assert found.n_slices == 6
    assert found.class_names == ("background", "liver", "spleen", "kidney")
    assert found.class_voxels[1:] == (105 + 105 + 210, 3 * 24, 0)
    assert found.class_volumes_ml[1] == pytest.approx((0.315, 0.63, 2.52))
    assert found.class_volumes_ml[3] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_rows_and_columns_stand_as_radiologists_see_the_plane(tmp_path: Path, plane: str) -> None:
    found = fingerprint_of(write_case(tmp_path, "a", plane, spacing_mm=(0.5, 0.75, 4.0)))
    assert found.plane == plane
    assert found.in_plane_spacing_mm == (0.75, 0.5)
    assert found.in_plane_size == (16, 20)
    assert found.slice_spacing_mm == 4.0


def test_axes_in_another_order_change_nothing(tmp_path: Path) -> None:
    label, affine = label_array(), affine_of("coronal", (0.5, 0.75, 4.0))
    found = []
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1)), ("c", (1, 2, 0))):
        turned = affine.copy()
        turned[:, :3] = affine[:, order]
        image = write_nifti(tmp_path / name / "i.nii", ct_array(label).transpose(order), turned)
        labels = write_nifti(tmp_path / name / "l.nii", label.transpose(order), turned)
        found.append(fingerprint_of({"image": str(image), "label": str(labels), "case": name}))
    assert found[0] == found[1] == found[2]


def test_dicom_series_says_its_modality_and_plane(tmp_path: Path) -> None:
    files = write_series(tmp_path / "images" / "a", np.full((4, 8, 6), 40, dtype=np.int16), Modality="MR")
    assert len(files) == 4
    loaded = loading(with_label=False)({"image": str(tmp_path / "images" / "a")})["image"]
    label = np.zeros(loaded.shape[1:], dtype=np.uint8)
    label[2:4, 2:4, 1:3] = 1
    labels = write_nifti(tmp_path / "labels" / "a.nii.gz", label, loaded.affine.numpy())
    found = fingerprint_of({"image": str(tmp_path / "images" / "a"), "label": str(labels), "case": "a"}, modality="CT")
    assert (found.modality, found.plane, found.n_slices) == ("MR", "axial", 4)
    assert found.in_plane_spacing_mm == pytest.approx((0.8, 0.6))
    assert found.slice_spacing_mm == pytest.approx(2.5)


def test_most_frequent_plane_is_taken_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [write_case(tmp_path, n, p) for n, p in (("a", "coronal"), ("b", "axial"), ("c", "axial"))]
    assert fingerprint_of(*cases).plane == "axial"
    assert "training cases of several planes: {'coronal': 1, 'axial': 2}" in caplog.text


def test_unstated_modality_is_ct_where_there_is_air_in_hu(tmp_path: Path) -> None:
    label, affine = label_array(), affine_of()
    labels = str(write_nifti(tmp_path / "l.nii", label, affine))
    for low, modality in ((-1000, "CT"), (0, "MR")):
        image = write_nifti(tmp_path / f"{modality}.nii", ct_array(label).clip(min=low), affine)
        assert fingerprint_of({"image": str(image), "label": labels, "case": "a"}).modality == modality


def test_stated_modality_wins_over_the_values_and_the_users_word_over_both(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    assert fingerprint_of(case, modality="MR").modality == "MR"
    assert fingerprint_of(case, modality="MR", override="PT").modality == "PT"


def test_what_a_series_says_of_itself_wins_over_what_is_stated(tmp_path: Path) -> None:
    # Inference compares a series' own modality with the model's, so the model must carry the series' word.
    write_series(tmp_path / "a", np.full((3, 8, 6), 40, dtype=np.int16), Modality="MR")
    affine = loading(with_label=False)({"image": str(tmp_path / "a")})["image"].affine.numpy()
    labels = write_nifti(tmp_path / "l.nii", np.ones((6, 8, 3), dtype=np.uint8), affine)
    case = {"image": str(tmp_path / "a"), "label": str(labels), "case": "a"}
    assert fingerprint_of(case, override="CT").modality == "MR"


def test_color_picture_is_measured_in_pixels(tmp_path: Path) -> None:
    found = fingerprint_of(write_picture(tmp_path, "a", color=True))
    assert (found.modality, found.plane, found.image_channels) == ("PICTURE", "picture", 3)
    assert found.in_plane_spacing_mm == (1.0, 1.0)
    assert sorted(found.in_plane_size) == [12, 20]
    assert found.n_slices == 1
    assert found.class_voxels[1] == 18


def test_gray_and_color_pictures_are_one_data_set_of_three_channels(tmp_path: Path) -> None:
    pictures = [write_picture(tmp_path, name, color) for name, color in (("a", True), ("b", False))]
    found = fingerprint_of(*pictures)
    assert (found.modality, found.image_channels, found.n_cases) == ("PICTURE", 3, 2)


@pytest.mark.parametrize("shape", [(20, 16, 1), (20, 16)], ids=["one slice", "2D"])
def test_volume_of_one_slice_is_measured(tmp_path: Path, shape: tuple[int, ...]) -> None:
    label = label_array((20, 16, 1)).reshape(shape)
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label, affine_of())
    found = fingerprint_of({"image": str(image), "label": str(labels), "case": "a"})
    assert (found.plane, found.n_slices, found.in_plane_size) == ("axial", 1, (16, 20))


# Refused


@pytest.mark.parametrize(("stated", "modality"), [("ct", "CT"), ("MRI", "MR"), ("T1w", "MR")])
def test_a_stated_modality_is_called_as_dicom_calls_it(tmp_path: Path, stated: str, modality: str) -> None:
    assert fingerprint_of(write_case(tmp_path, "a"), override=stated).modality == modality


def test_cases_of_several_modalities_are_an_error(tmp_path: Path) -> None:
    label, affine = label_array(), affine_of()
    ct = write_case(tmp_path, "a")
    mr = ct | {"image": str(write_nifti(tmp_path / "mr.nii", ct_array(label).clip(min=0), affine)), "case": "b"}
    with pytest.raises(DatasetError, match="differ in modality: CT, MR; train one model per modality"):
        fingerprint_of(ct, mr)
    with pytest.raises(DatasetError, match="differ in modality: CT, MR"):
        fingerprint_of(ct, validation=(mr,))
    assert fingerprint_of(ct, mr, override="MR").n_cases == 2


def test_labels_of_background_alone_are_an_error(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    write_nifti(Path(case["label"]), np.zeros((20, 16, 6), dtype=np.uint8), affine_of())
    with pytest.raises(DatasetError, match="no class has a voxel in 1 training label; expected some"):
        fingerprint_of(case)


def test_class_that_the_data_set_does_not_name_is_an_error(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    with pytest.raises(
        LabelContentError, match=r"case a: the label holds class 2, but there are 2 classes \(0 to 1, as"
    ):
        fingerprint_of(case, class_names=["background", "liver"])


def test_class_of_a_validation_case_alone_is_an_error(tmp_path: Path) -> None:
    first, second = write_case(tmp_path, "a"), write_case(tmp_path, "b")
    write_nifti(Path(first["label"]), (label_array() == 1).astype(np.uint8), affine_of())
    with pytest.raises(LabelContentError, match=r"case b: the label holds class 2.* as the training labels hold them"):
        fingerprint_of(first, validation=(second,))


def test_case_that_cannot_be_used_is_named_with_its_reason(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    write_nifti(Path(case["label"]), label_array(), affine_of("axial", (1.0, 1.0, 2.0)))
    with pytest.raises(GridMismatchError, match=r"case a: label .* does not fit image"):
        fingerprint_of(case)


def test_case_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    Path(case["image"]).write_bytes(b"no image")
    with pytest.raises(ImageReadError, match=r"a\.nii\.gz cannot be read as NIfTI"):
        fingerprint_of(case)


# Planned


def test_window_reaches_beyond_the_foreground_of_a_ct() -> None:
    assert plan_model(FINGERPRINT).preprocessing.windows == ((-100.0, 500.0),)


def test_window_of_a_narrow_foreground_is_still_two_hundred_hu_wide() -> None:
    narrow = replace(FINGERPRINT, foreground_percentiles=(40.0, 60.0, 80.0))
    assert plan_model(narrow).preprocessing.windows == ((-40.0, 160.0),)


@pytest.mark.parametrize("modality", ["MR", "PICTURE"])
def test_other_modalities_are_scaled_to_one(modality: str) -> None:
    assert plan_model(replace(FINGERPRINT, modality=modality)).preprocessing.windows == ((0.0, 1.0),)


def test_plan_follows_the_fingerprint() -> None:
    spec = plan_model(FINGERPRINT)
    prep = spec.preprocessing
    assert (prep.modality, prep.plane, prep.spacing_mm, prep.channels) == ("CT", "axial", (0.8, 0.7), "neighbors")
    assert prep.roi_size == (112, 80)
    assert (spec.network["in_channels"], spec.network["out_channels"]) == (3, 3)
    assert spec.class_names == ["background", "liver", "spleen"]
    assert Fingerprint(**spec.fingerprint) == FINGERPRINT


@pytest.mark.parametrize(
    ("change", "mode", "in_channels"),
    [({}, "neighbors", 3), ({"n_slices": 1}, "window", 3), ({"image_channels": 3, "n_slices": 1}, "color", 3)],
)
def test_channels_follow_what_the_images_are(change: dict[str, Any], mode: str, in_channels: int) -> None:
    spec = plan_model(replace(FINGERPRINT, **change))
    assert (spec.preprocessing.channels, spec.network["in_channels"]) == (mode, in_channels)


def test_crop_is_bounded_by_what_the_device_can_do() -> None:
    large = replace(FINGERPRINT, in_plane_size=(600, 20))
    assert plan_model(large, "cpu").preprocessing.roi_size == (160, 32)
    assert plan_model(large, "cuda").preprocessing.roi_size == (384, 32)


def test_users_word_wins_over_the_plan() -> None:
    overrides = {"windows": [[0, 100], [-50, 300]], "channels": "windows", "roi_size": [64, 64]}
    spec = plan_model(FINGERPRINT, overrides=overrides, network={"upsample": "bilinear", "in_channels": 7})
    assert spec.preprocessing.windows == ((0, 100), (-50, 300))
    assert spec.preprocessing.roi_size == (64, 64)
    assert spec.preprocessing.spacing_mm == FINGERPRINT.in_plane_spacing_mm
    assert spec.network["upsample"] == "bilinear"
    assert spec.network["in_channels"] == 2  # follows from the channels, whatever is stated
    assert spec.network["decoder_channels"] == [256, 128, 64, 32]


def test_override_of_nothing_known_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot override \['window'\]"):
        plan_model(FINGERPRINT, overrides={"window": (0, 1)})


def test_rare_classes_weigh_more_within_bounds() -> None:
    assert FINGERPRINT.class_weights == [1.0, round(math.sqrt(250 / 400), 3), round(math.sqrt(250 / 100), 3)]
    extreme = replace(FINGERPRINT, class_voxels=(10, 1_000_000, 0))
    assert extreme.class_weights == [1.0, 0.707, 2.0]
    assert replace(FINGERPRINT, class_voxels=(10, 10**6, 1, 1)).class_weights == [1.0, 0.577, 2.0, 2.0]


@pytest.mark.parametrize("roi", [(32, 32), (48, 64), (112, 80), (160, 160), (512, 512)])
def test_batch_is_even_and_within_bounds(roi: tuple[int, int]) -> None:
    spec = plan_model(FINGERPRINT, overrides={"roi_size": roi})
    batch = plan_batch_size(spec, "cpu")
    assert batch % 2 == 0
    assert 4 <= batch <= 64
    assert batch == 4 or batch * roi[0] * roi[1] <= plan.STEP_PIXELS["cpu"]


def test_batch_shrinks_with_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = plan_model(FINGERPRINT, overrides={"roi_size": (64, 64)})
    monkeypatch.setattr(plan, "available_memory", lambda: 1 << 40)
    assert plan_batch_size(spec, "cpu") == 16
    monkeypatch.setattr(plan, "available_memory", lambda: 1 << 29)
    assert plan_batch_size(spec, "cpu") == 8


def test_processes_agree_on_the_least_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees the free memory at its own moment."""
    asked = []

    def least_of_all(number: int, op: str) -> int:
        asked.append((number, op))
        return 4

    monkeypatch.setattr(plan.idist, "all_reduce", least_of_all)
    assert plan_batch_size(plan_model(FINGERPRINT), "cpu") == 4
    assert [op for _, op in asked] == ["MIN"]


def test_summary_of_pictures_states_no_lengths() -> None:
    text = replace(FINGERPRINT, modality="PICTURE").summary()
    assert "4 training pictures, up to 100 x 70 pixels" in text
    assert "classes (share of pixels): liver 3.81 %, spleen 0.952 %" in text
    assert "mm" not in text
    assert "mL" not in text


def test_summary_tells_what_a_user_wants_to_see() -> None:
    text = FINGERPRINT.summary()
    assert "4 training cases, CT, axial slices" in text
    assert "in-plane spacing 0.8 x 0.7 mm, slices every 5 mm, 30 per case, up to 100 x 70 pixels" in text
    assert "classes (median volume): liver 2 mL, spleen 2 mL" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": {"decoder_channels": [10**6, 64, 32, 16]}}, "network.decoder_channels is"),
        ({"network": {"pretrained": "imagenet"}}, "network.pretrained is unknown"),
        ({"overrides": {"spacing_mm": (float("inf"), 1.0)}}, "preprocessing.spacing_mm is"),
    ],
)
def test_what_no_model_file_may_hold_is_refused_before_training_begins(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no model can be trained with these settings: {message}"):
        plan_model(FINGERPRINT, **options)
