"""Tests of the benchmark of clicks: whom the models meet, and that DeepEdit gets its clicks where the user put them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import write_case

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts" / "benchmarks"))

import results_page
from simulated_user import correct, deepest_error, figures

NAMES = ["background", "front", "back"]


def truth_of_two_cubes() -> np.ndarray:
    truth = np.zeros((20, 20, 12), dtype=np.uint8)
    truth[2:9, 2:9, 2:9] = 1
    truth[12:15, 12:15, 4:7] = 2
    return truth


def test_the_user_clicks_into_the_middle_of_the_largest_error_and_says_what_is_right() -> None:
    truth, seen = truth_of_two_cubes(), []

    def fill(clicks: list) -> np.ndarray:
        seen.append(list(clicks))
        mask = np.zeros_like(truth)
        for name, _ in clicks:
            mask[truth == NAMES.index(name)] = NAMES.index(name)
        return mask

    result = correct(np.zeros_like(truth), fill, truth, NAMES, n_clicks=5)

    assert seen == [[("front", (5, 5, 5))], [("front", (5, 5, 5)), ("back", (13, 13, 5))]]
    assert result.dice == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0, 1.0])
    assert result.error_left == pytest.approx([1.0, 27 / 370, 0, 0, 0, 0])
    assert result.obeyed == [True, True]


def test_a_model_that_ignores_clicks_gains_nothing_and_one_that_strays_is_seen() -> None:
    truth = truth_of_two_cubes()
    automatic = np.zeros_like(truth)
    deaf = correct(automatic, lambda clicks: automatic, truth, NAMES, n_clicks=3)
    assert deaf.obeyed == [False] * 3
    assert deaf.clicked_error_left == 1.0
    assert deaf.changed_elsewhere == 0.0

    stray = automatic.copy()
    stray[..., 0] = 1  # a slice without a click; 11 of 12 are without one
    assert correct(automatic, lambda clicks: stray, truth, NAMES, 1).changed_elsewhere == pytest.approx(1 / 11)


def test_the_figures_are_means_over_volumes() -> None:
    truth = truth_of_two_cubes()
    perfect = correct(truth, lambda clicks: truth, truth, NAMES, n_clicks=3)
    empty = correct(np.zeros_like(truth), lambda clicks: truth, truth, NAMES, n_clicks=3)
    text = figures([perfect, empty])
    assert "| 0 | 0.500 | 0.000 | 50 % | 0 of 2 |" in text
    assert "| 3 | 1.000 | 1.000 | 0 % | 0 of 2 |" in text
    assert "100 % of 1 clicked voxels" in text


class AnswersGuidance(torch.nn.Module):
    """Keeps what it is given, and answers with the class whose guidance is strongest."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.given = image[0].numpy()
        return image[:, 1:]


def test_the_corrector_learns_what_clicks_say() -> None:
    """Of a mask that always lacks a cube of which the image shows nothing, and that a click tells of."""
    import clicks_bound

    rng, volumes = np.random.default_rng(0), []
    for _ in range(6):
        truth = np.zeros((12, 12, 8), dtype=np.int64)
        x, y = rng.integers(0, 7, 2)
        truth[x : x + 5, y : y + 5, 2:7] = 1 + rng.integers(2)
        log = np.log(np.stack([np.full(truth.shape, 0.8), *np.full((2, *truth.shape), 0.1)])).astype(np.float32)
        volumes.append({"image": np.zeros(truth.shape, np.float32), "log": log, "truth": truth})
    torch.manual_seed(0)
    network = clicks_bound.Corrector(3)
    assert not clicks_bound.corrected(network, volumes[0], [], NAMES).any()
    voxel, _ = deepest_error(volumes[0]["truth"] > 0)
    click = (NAMES[volumes[0]["truth"][voxel]], voxel)
    assert clicks_bound.corrected(network, volumes[0], [click], NAMES).astype(bool).sum() == 1
    clicks_bound.train(network, volumes, NAMES, steps=80)
    dice = [clicks_bound.judge(network, volume, NAMES).dice[1] for volume in volumes]
    assert np.mean(dice) > 0.3, dice  # of a click that is obeyed and no more: 0.02


def test_deepedit_gets_each_click_in_its_class_and_answers_on_the_volumes_grid() -> None:
    pytest.importorskip("skimage", reason="MONAI's DeepEdit draws its clicks with scikit-image")
    from deepedit_peer import PATCH, Session

    network, image = AnswersGuidance(), torch.rand(1, 35, 52, 36)
    session = Session(network, NAMES, image)
    assert not session([]).any()
    assert not network.given[1:].any()

    clicks = [("back", (3, 40, 30)), ("front", (30, 4, 2)), ("background", (17, 25, 18))]
    mask = session(clicks)

    assert mask.shape == (35, 52, 36)
    assert [mask[voxel] for _, voxel in clicks] == [2, 1, 0]
    assert network.given.shape == (4, *PATCH)
    own = network.given[:, 6:41, 6:58, 6:42]
    np.testing.assert_array_equal(own[0], image[0].numpy())
    for name, voxel in clicks:
        channel = own[1 + NAMES.index(name)]
        assert np.unravel_index(channel.argmax(), channel.shape) == voxel


def test_a_volume_larger_than_deepedits_patch_is_refused() -> None:
    pytest.importorskip("skimage", reason="MONAI's DeepEdit draws its clicks with scikit-image")
    from deepedit_peer import Session

    with pytest.raises(SystemExit, match="does not fit the patch"):
        Session(AnswersGuidance(), NAMES, torch.rand(1, 60, 52, 36))


@pytest.fixture
def _own_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_own_threads")
def test_deepedit_is_trained_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage", reason="MONAI's DeepEdit draws its clicks with scikit-image")
    import clicks_deepedit

    for folder, count in (("train", 3), ("test", 1)):
        for number in range(count):
            write_case(tmp_path / folder, f"case{number}", shape=(24, 24, 16), seed=number)
        labels = {str(number): name for number, name in enumerate(NAMES)}
        cases = [{part: f"{part}s/case{n}.nii.gz" for part in ("image", "label")} for n in range(count)]
        (tmp_path / folder / "dataset.json").write_text(json.dumps({"labels": labels, "training": cases}))
    monkeypatch.setattr(results_page, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(clicks_deepedit, "CLICKED_SHARE", 1.0)
    folders = [f"--{name}={tmp_path / name}" for name in ("train", "test", "work")]
    options = ["--minutes=0.03", "--shrink=16", "--validation=1", "--clicks=3", "--cosine"]
    monkeypatch.setattr(sys, "argv", ["clicks_deepedit.py", *folders, *options])

    clicks_deepedit.main()

    run = json.loads((tmp_path / "work" / "deepedit.json").read_text())
    assert run["cases"] == 2
    assert run["class_names"] == NAMES
    assert run["history"][-1]["step"] >= 1
    page = (tmp_path / "results.md").read_text()
    assert "DeepEdit as a peer" in page
    assert "2 cases,\n  1 CPU thread(s)" in page
    assert "| 3 | " in page
    assert " clicks repeated an earlier place" in page
