"""Rates and loading processes where the user says nothing."""

from __future__ import annotations

import pytest

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.training import default_lr, default_workers


def test_pretrained_layers_move_ten_times_more_slowly_than_new_ones() -> None:
    assert (default_lr("encoder", False), default_lr("decoder", False)) == (1e-5, 1e-4)


@pytest.mark.parametrize("from_scratch", [True, "true"])
def test_from_scratch_all_of_the_network_learns_at_one_rate(from_scratch: object) -> None:
    assert default_lr("encoder", from_scratch) == default_lr("decoder", from_scratch) == 3e-4


def test_a_part_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got the part 'head' of the network, expected one of encoder, decode"):
        default_lr("head", False)


def test_only_a_gpu_gets_processes_that_load_for_it() -> None:
    assert default_workers("cpu") == 0
    assert default_workers("cuda:1") == 4
