"""What is frozen follows from the epoch alone, on one process and on two."""

from __future__ import annotations

import io
import itertools
import logging
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.training.lr_schedule import LearningRateHandler, make_lr_schedule
from monai_vggunet.training.param_groups import parameter_groups
from monai_vggunet.training.progressive_unfreeze import ProgressiveUnfreezeHandler

ALL = (0, 1, 2, 3, 4)


def small_network() -> VGG16UNet:
    torch.manual_seed(2)
    return VGG16UNet(decoder_channels=(8, 8, 8, 8))


def small_optimizer(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameter_groups(network, encoder_lr=1e-3, decoder_lr=1e-2))


def test_default_is_the_article_schedule():
    handler = ProgressiveUnfreezeHandler(small_network())
    free = {epoch: handler.free_stages(epoch) for epoch in (1, 5, 6, 10, 11, 16, 21, 25, 26, 100)}
    assert free[1] == free[5] == ()
    assert free[6] == free[10] == (4,)
    assert free[11] == (3, 4)
    assert free[16] == (2, 3, 4)
    assert free[21] == free[25] == (1, 2, 3, 4)
    assert free[26] == free[100] == ALL


def test_two_stages_at_a_time_from_a_given_epoch_shallow_first():
    handler = ProgressiveUnfreezeHandler(
        small_network(), every_epochs=2, stages_per_step=2, start_epoch=1, direction="shallow_first"
    )
    assert [handler.free_stages(epoch) for epoch in range(1, 7)] == [
        (0, 1),
        (0, 1),
        (0, 1, 2, 3),
        (0, 1, 2, 3),
        ALL,
        ALL,
    ]


def test_schedule_may_be_written_out_as_in_json():
    handler = ProgressiveUnfreezeHandler(small_network(), schedule={"10": 5, "3": 2})
    assert [handler.free_stages(epoch) for epoch in (1, 2, 3, 9, 10)] == [(), (), (3, 4), (3, 4), ALL]


def frozen_per_epoch(start: int, epochs: int) -> list[tuple[int, ...]]:
    network = small_network()
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(network.train().frozen_stages))
    ProgressiveUnfreezeHandler(network, every_epochs=1).attach(trainer)
    trainer.load_state_dict({"epoch": start, "max_epochs": epochs, "epoch_length": 1})
    trainer.run([0], max_epochs=epochs)
    return seen


def test_engine_resumed_at_an_epoch_freezes_the_same():
    whole = frozen_per_epoch(0, 7)
    assert whole == [ALL, (0, 1, 2, 3), (0, 1, 2), (0, 1), (0,), (), ()]
    assert frozen_per_epoch(3, 7) == whole[3:]


def train(epochs: int, schedule_name: str, checkpoint: dict | None = None, learn: bool = False) -> tuple[list, dict]:
    """Per epoch what is frozen and every rate, and the checkpoint at the end; a resumed run starts from one."""
    network = small_network()
    optimizer = small_optimizer(network)
    schedule = make_lr_schedule(schedule_name, optimizer, max_epochs=6, patience=0)
    seen: list = []

    def step(engine, batch):
        network.train()
        if learn:
            optimizer.zero_grad()
            torch.manual_seed(engine.state.iteration)
            network(torch.randn(2, 3, 32, 32)).square().mean().backward()
        optimizer.step()
        seen.append((network.frozen_stages, [group["lr"] for group in optimizer.param_groups]))
        engine.state.metrics["dice"] = 0.5

    trainer = Engine(step)
    ProgressiveUnfreezeHandler(network, optimizer, every_epochs=1, stages_per_step=2, lr_decay=0.5).attach(trainer)
    LearningRateHandler(schedule, "dice").attach(trainer)
    if checkpoint is not None:
        network.load_state_dict(checkpoint["network"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        trainer.load_state_dict(checkpoint["trainer"])
    trainer.run([0], max_epochs=epochs)
    saved = io.BytesIO()
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    torch.save(
        {name: part.state_dict() for name, part in parts.items()} | {"trainer": dict(trainer.state_dict())}, saved
    )
    saved.seek(0)
    return seen, torch.load(saved, weights_only=True)


@pytest.mark.parametrize("schedule_name", ["plateau", "cosine", "onecycle", "constant"])
def test_resumed_run_has_the_same_rates_and_frozen_stages(schedule_name):
    whole, _ = train(5, schedule_name)
    first, checkpoint = train(2, schedule_name)
    assert first + train(5, schedule_name, checkpoint)[0] == whole


def test_resumed_training_ends_with_the_same_weights():
    _, end = train(3, "plateau", learn=True)
    _, checkpoint = train(2, "plateau", learn=True)
    _, resumed_end = train(3, "plateau", checkpoint, learn=True)
    for key, value in end["network"].items():
        assert torch.equal(value, resumed_end["network"][key]), key


@pytest.mark.parametrize("schedule_name", ["plateau", "cosine", "onecycle"])
def test_rate_decay_multiplies_with_the_schedule(schedule_name):
    for _, rates in train(4, schedule_name)[0]:
        by_stage = [rates[2 * number] / rates[-1] for number in range(5)]
        # freed at steps 3, 2, 2, 1, 1; the encoder's own rate is a tenth of the decoder's
        assert by_stage == pytest.approx([0.025, 0.05, 0.05, 0.1, 0.1])


def test_rates_stay_alone_without_decay():
    network = small_network()
    optimizer = small_optimizer(network)
    before = [dict(group, params=None) for group in optimizer.param_groups]
    handler = ProgressiveUnfreezeHandler(network, optimizer, every_epochs=1)
    for epoch in range(1, 8):
        handler.apply(epoch)
    assert [dict(group, params=None) for group in optimizer.param_groups] == before


def test_freed_stage_trains_and_frozen_ones_do_not_under_bf16():
    network = small_network()
    optimizer = small_optimizer(network)
    handler = ProgressiveUnfreezeHandler(network, optimizer, every_epochs=1)
    changed = []
    for epoch in (1, 2, 3):
        handler.apply(epoch)
        before = [{k: v.clone() for k, v in stage.state_dict().items()} for stage in network.encoder_stages()]
        network.train()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(torch.randn(2, 3, 32, 32)).square().mean()
        loss.backward()
        optimizer.step()
        changed.append(
            [
                any(not torch.equal(value, old[key]) for key, value in stage.state_dict().items())
                for stage, old in zip(network.encoder_stages(), before)
            ]
        )
    assert changed == [[False] * 5, [False] * 4 + [True], [False] * 3 + [True] * 2]


def test_steps_are_logged(caplog):
    trainer = Engine(lambda engine, batch: None)
    ProgressiveUnfreezeHandler(small_network(), every_epochs=1).attach(trainer)
    with caplog.at_level(logging.INFO):
        trainer.run([0], max_epochs=2)
    assert "epoch 2: encoder stages [4] free, [0, 1, 2, 3] frozen" in caplog.text


def test_training_that_ends_before_all_are_free_warns(caplog):
    trainer = Engine(lambda engine, batch: None)
    ProgressiveUnfreezeHandler(small_network()).attach(trainer)
    with caplog.at_level(logging.WARNING):
        trainer.run([0], max_epochs=7)
    assert "training ends at epoch 7 with only encoder stages [4] free; all are free from epoch 26 on" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"direction": "up"}, "direction='up', expected one of deep_first, shallow_first"),
        ({"every_epochs": 0}, "every_epochs=0.*expected whole numbers from 1"),
        ({"every_epochs": "often"}, "every_epochs='often'.*expected whole numbers from 1"),
        ({"stages_per_step": 0}, "stages_per_step=0.*expected whole numbers from 1"),
        ({"start_epoch": 1.5}, r"start_epoch=1\.5, expected whole numbers from 1"),
        ({"schedule": {3: 4, 6: 2}}, "never fall"),
        ({"schedule": {0: 1}}, r"epochs \(from 1\)"),
        ({"schedule": {3: 6}}, r"0 to 5"),
        ({"schedule": {"a": 1}}, "got schedule="),
        ({"schedule": {}}, "got schedule="),
        ({"schedule": {6.5: 1}}, "got schedule="),
        ({"schedule": {"6": 1.5}}, "got schedule="),
        ({"schedule": {"6": True}}, "got schedule="),
        ({"schedule": {"6": 1, 6: 2}}, "got schedule="),
        ({"schedule": "6: 1"}, "got schedule='6: 1'"),
        ({"lr_decay": 0.5}, "no optimizer, expected the one"),
        ({"lr_decay": 0}, "lr_decay=0, expected a factor"),
        ({"lr_decay": "0.5x"}, "lr_decay='0.5x', expected a factor"),
    ],
)
def test_impossible_arguments_are_refused(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        ProgressiveUnfreezeHandler(small_network(), **arguments)


def test_optimizer_without_the_frozen_parameters_is_refused():
    network = small_network()
    with pytest.raises(ConfigurationError, match=r"lacks \d+ encoder parameter"):
        ProgressiveUnfreezeHandler(network, torch.optim.SGD(network.decoder.parameters(), lr=1.0))


def test_rate_decay_needs_one_stage_to_a_group():
    network = small_network()
    with pytest.raises(ConfigurationError, match="mixes encoder stages"):
        ProgressiveUnfreezeHandler(network, torch.optim.SGD(network.parameters(), lr=1.0), lr_decay=0.5)


def test_another_network_is_refused():
    with pytest.raises(ConfigurationError, match="got a Linear, expected a VGG16UNet"):
        ProgressiveUnfreezeHandler(nn.Linear(1, 1))


@pytest.fixture
def one_process_group(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_distributed_without_find_unused_parameters_is_refused(one_process_group):
    with pytest.raises(ConfigurationError, match="build it with find_unused_parameters=True"):
        ProgressiveUnfreezeHandler(DistributedDataParallel(small_network()))


def test_distributed_built_with_frozen_stages_is_refused(one_process_group):
    network = small_network()
    network.set_frozen_stages(2)
    with pytest.raises(ConfigurationError, match=r"encoder stages \[0, 1\] are frozen already"):
        ProgressiveUnfreezeHandler(DistributedDataParallel(network, find_unused_parameters=True))


def _train_on_rank(rank: int, folder: str) -> None:
    """Four epochs of one step each on this rank's own data, stages 4 to 0 freed two an epoch from epoch 2 on."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    network = DistributedDataParallel(small_network(), find_unused_parameters=True)
    optimizer = small_optimizer(network)
    stages_per_epoch = [[_checksum(stage) for stage in network.module.encoder_stages()]]

    def step(engine: Engine, batch: int) -> None:
        network.train()
        optimizer.zero_grad(set_to_none=False)  # as MONAI's trainer does by default
        generator = torch.Generator().manual_seed(100 * rank + engine.state.iteration)
        network(torch.randn(2, 3, 32, 32, generator=generator)).square().mean().backward()
        optimizer.step()
        stages_per_epoch.append([_checksum(stage) for stage in network.module.encoder_stages()])

    trainer = Engine(step)
    ProgressiveUnfreezeHandler(network, optimizer, every_epochs=1, stages_per_step=2).attach(trainer)
    trainer.run([0], max_epochs=4)
    parameters = {name: parameter.detach() for name, parameter in network.module.named_parameters()}
    torch.save({"parameters": parameters, "stages": stages_per_epoch}, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


def _checksum(module: nn.Module) -> float:
    return float(sum(parameter.detach().double().abs().sum() for parameter in module.parameters()))


@pytest.mark.slow
def test_two_processes_stay_alike_while_stages_are_freed(tmp_path: Path):
    multiprocessing.spawn(_train_on_rank, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    for name, parameter in ranks[0]["parameters"].items():
        assert torch.equal(parameter, ranks[1]["parameters"][name]), name
    assert ranks[0]["stages"] == ranks[1]["stages"]
    history = ranks[0]["stages"]
    for epoch, (before, after) in enumerate(itertools.pairwise(history), start=1):
        assert [a != b for a, b in zip(after, before)] == [stage > 6 - 2 * epoch for stage in range(5)], epoch
