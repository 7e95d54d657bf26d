"""`model.pt` and `model.json` are a usable pair at any moment, and load into the network they are of."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_runs import Killed, assert_same, assert_usable_pair, kill, make_network, make_spec, weights

from monai_vggunet.data import load_model_spec
from monai_vggunet.errors import ModelMismatchError, OutputWriteError
from monai_vggunet.training import load_weights, log_weights, save_model


def kill_at_replacement(monkeypatch, number: int) -> None:
    """From now on the process dies right before it would rename its `number`-th file."""
    replace, count = os.replace, [0]

    def replace_or_die(*paths: Any) -> None:
        count[0] += 1
        if count[0] >= number:
            kill()
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_or_die)


@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("second", [1, 2, 3])
def test_killed_between_the_two_files_leaves_a_pair(tmp_path, monkeypatch, first, second):
    torch.manual_seed(0)
    networks = [make_network() for _ in range(3)]
    save_model(networks[0], make_spec(), tmp_path)
    for network, number in zip(networks[1:], (first, second)):
        with monkeypatch.context() as patch:
            kill_at_replacement(patch, number)
            with pytest.raises(Killed, match="killed"):
                save_model(network, make_spec(), tmp_path)
        assert_usable_pair(tmp_path)
    present = weights(tmp_path / "model.pt")
    held = [all(torch.equal(present[k], v) for k, v in network.state_dict().items()) for network in networks]
    assert held.index(True) == (2 if second == 3 else 1 if first == 3 else 0)
    save_model(networks[2], make_spec(), tmp_path)
    assert load_model_spec(tmp_path / "model.json").accepted_sha256 == []
    assert_usable_pair(tmp_path)


def test_killed_while_the_first_pair_is_written_is_no_model(tmp_path, monkeypatch):
    kill_at_replacement(monkeypatch, 2)
    with pytest.raises(Killed, match="killed"):
        save_model(make_network(), make_spec(), tmp_path)
    with pytest.raises(ModelMismatchError, match="there is no model at"):
        load_model_spec(tmp_path / "model.json").require_weights(tmp_path / "model.pt")


def test_weights_of_another_model_are_not_accepted_in_between(tmp_path, monkeypatch):
    other = make_spec(network={"dropout": 0.1})
    save_model(make_network(), other, tmp_path)
    kill_at_replacement(monkeypatch, 2)
    with pytest.raises(Killed, match="killed"):
        save_model(make_network(), make_spec(), tmp_path)
    with pytest.raises(ModelMismatchError, match=r"is not the model that its model\.json describes"):
        load_model_spec(tmp_path / "model.json").require_weights(tmp_path / "model.pt")


def test_damaged_description_is_replaced_by_a_whole_one(tmp_path):
    save_model(make_network(), make_spec(), tmp_path)
    (tmp_path / "model.json").write_text("{")
    save_model(make_network(), make_spec(), tmp_path)
    assert_usable_pair(tmp_path)


def test_origin_of_the_first_weights_is_recorded(tmp_path):
    network = make_network()
    network.pretrained_source = "imagenet"
    save_model(network, make_spec(), tmp_path)
    assert load_model_spec(tmp_path / "model.json").pretrained == "imagenet"


def test_description_that_cannot_be_written_is_the_one_named(tmp_path, monkeypatch):
    save_model(make_network(), make_spec(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def no_space(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", no_space)
    with pytest.raises(OutputWriteError, match=r"^cannot write \S*model\.json: No space left on device"):
        save_model(make_network(), make_spec(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_saved_weights_load_into_their_network(tmp_path):
    torch.manual_seed(0)
    network = make_network()
    save_model(network, make_spec(), tmp_path)
    loaded = load_weights(make_network(), tmp_path / "model.pt")
    assert_same(network.state_dict(), loaded.state_dict())
    assert loaded[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (make_network(8).state_dict(), "does not fit this network: .*size mismatch for 0.weight"),
        ({"0.weight": torch.zeros(4, 1, 3, 3)}, 'does not fit this network: .*Missing key.*"0.bias"'),
        ([1, 2], "does not fit this network: Expected state_dict to be dict-like"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, content, text):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelMismatchError, match=text):
        load_weights(make_network(), tmp_path / "model.pt")


def test_weights_that_are_missing_or_unsafe_are_refused(tmp_path):
    with pytest.raises(ModelMismatchError, match=r"none\.pt does not fit this network: .*No such file"):
        load_weights(make_network(), tmp_path / "none.pt")
    torch.save(make_network(), tmp_path / "pickled.pt")  # a whole module: loading it would run code
    with pytest.raises(ModelMismatchError, match=r"pickled\.pt does not fit this network: Weights only load failed"):
        load_weights(make_network(), tmp_path / "pickled.pt")


def test_hash_of_the_weights_tells_networks_apart(caplog):
    torch.manual_seed(0)
    network, other = make_network(), make_network()
    with caplog.at_level(logging.INFO):
        digest = log_weights(network)
    assert f"process 0 ends with weights {digest[:16]}" in caplog.text
    assert log_weights(network.to(memory_format=torch.channels_last)) == digest
    assert log_weights(other) != digest


def test_description_is_json_that_others_can_read(tmp_path):
    save_model(make_network(), make_spec(), tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["class_names"] == ["rest", "disk"]
    assert len(content["weights_sha256"]) == 64
