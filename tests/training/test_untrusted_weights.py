"""A `model.pt` that anyone may have written: nothing in it becomes larger than itself, and only numbers are weights."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.training import load_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))


def refused(path: Path, message: str) -> None:
    with pytest.raises(ModelMismatchError, match=message):
        load_weights(network(), path)


def test_parts_that_inflate_are_refused(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for part in plain.infolist():
            content = bytes(1 << 26) if part.filename.endswith("data/0") else plain.read(part)
            bomb.writestr(part.filename, content)
    assert (tmp_path / "bomb.pt").stat().st_size < 100_000
    refused(tmp_path / "bomb.pt", "parts of it are compressed")


def test_a_file_larger_than_the_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with (tmp_path / "a.pt").open("wb") as file:
        file.truncate(1 << 40)
    refused(tmp_path / "a.pt", r"it has 1,099,511,627,776 bytes, the network's weights 2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: [1, 2], "does not fit this network: Expected state_dict to be dict-like"),
        (lambda state: {**state, "0.weight": 5}, "does not fit this network"),
        (lambda state: {**state, "0.weight": torch.zeros(1).expand(10**6, 10**6)}, "size mismatch for 0.weight"),
        (lambda state: {**state, "9.weight": torch.zeros(1)}, r'Unexpected key\(s\) in state_dict: "9.weight"'),
        (lambda state: {**state, "0.weight": torch.zeros(4, 1, 3, 3, device="meta")}, "does not fit this network"),
        (lambda state: {**state, "0.weight": torch.full((4, 1, 3, 3), torch.nan)}, "0.weight holds NaN or infinity"),
        (lambda state: {**state, "1.running_var": torch.full((4,), torch.inf)}, "1.running_var holds NaN or infinity"),
    ],
)
def test_what_is_no_state_of_the_network_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    torch.save(change(network().state_dict()), tmp_path / "a.pt")
    refused(tmp_path / "a.pt", message)


def test_the_form_of_old_files_is_refused(tmp_path: Path) -> None:
    """Their storages are allocated by what the pickle says."""
    torch.save(network().state_dict(), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "a.pt", "not a file as torch.save writes it today; save the state dict again")


class Bomb:
    def __reduce__(self) -> Any:
        return bytearray, (1 << 60,)


def test_a_pickle_that_allocates_is_refused(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as plain, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as bomb:
        for part in plain.infolist():
            content = pickle.dumps({"a": Bomb()}, 2) if part.filename.endswith("data.pkl") else plain.read(part)
            bomb.writestr(part.filename, content)
    refused(tmp_path / "bomb.pt", "does not fit this network")


def test_honest_weights_are_loaded(tmp_path: Path) -> None:
    source, target = network(), network()
    torch.save(source.state_dict(), tmp_path / "a.pt")
    load_weights(target, tmp_path / "a.pt")
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values()))
    (tmp_path / "a.pt").write_bytes(b"")  # what is loaded does not hang on the file
    assert torch.isfinite(target(torch.ones(1, 1, 8, 8))).all()
