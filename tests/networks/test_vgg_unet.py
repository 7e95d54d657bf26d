"""The network takes any size, exports as it computes, and freezes what it is told to."""

from __future__ import annotations

import io

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ComponentLocator, ConfigParser
from monai.networks.utils import convert_to_onnx
from torch import nn

from monai_vggunet import networks
from monai_vggunet.errors import ConfigurationError, ImageContentError
from monai_vggunet.losses import DiceCrossEntropyLoss
from monai_vggunet.networks import VGG16UNet, find_vgg16_unet

SMALL_DECODER = (16, 8, 8, 8)
SIZES = [(32, 32), (48, 64), (35, 50), (33, 47), (16, 16), (17, 31), (1, 1), (2, 3), (1, 130), (200, 5)]


def small_network(**arguments) -> VGG16UNet:
    torch.manual_seed(7)
    return VGG16UNet(decoder_channels=SMALL_DECODER, **arguments)


@pytest.fixture(scope="module")
def network() -> VGG16UNet:
    return small_network(in_channels=1, out_channels=3).eval()


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.mark.parametrize("size", SIZES)
def test_logits_have_the_size_of_the_image(network, size):
    with torch.no_grad():
        assert network(torch.randn(2, 1, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("arguments", [{"upsample": "bilinear"}, {"batch_norm": False}, {"dropout": 0.3}])
@pytest.mark.parametrize("size", [(32, 32), (35, 50), (5, 7)])
def test_every_variant_takes_any_size_in_training(arguments, size):
    logits = small_network(**arguments)(torch.randn(1, 3, *size))
    logits.mean().backward()
    assert logits.shape == (1, 2, *size)
    assert torch.isfinite(logits).all()


def test_defaults_are_the_article_network():
    network = VGG16UNet()
    blocks = network.decoder.blocks
    assert [block.convolutions[0].out_channels for block in blocks] == [256, 128, 64, 32]
    assert [block.convolutions[0].in_channels for block in blocks] == [512 + 256, 256 + 128, 128 + 64, 64 + 32]
    assert all(isinstance(block.up, nn.ConvTranspose2d) for block in blocks)
    assert network.head.kernel_size == (1, 1)
    assert network.pretrained_source == "scratch"


def test_full_resolution_map_reaches_the_output(network):
    """One changed pixel changes the logits most within the reach of the four full-resolution convolutions."""
    image = torch.zeros(1, 1, 48, 48)
    dot = image.clone()
    dot[..., 21, 30] = 1
    with torch.no_grad():
        change = (network(dot) - network(image)).abs().sum(1)[0]
    row, column = divmod(int(change.argmax()), 48)
    assert abs(row - 21) <= 4
    assert abs(column - 30) <= 4


@pytest.mark.parametrize("arguments", [{}, {"upsample": "bilinear"}, {"batch_norm": False, "dropout": 0.2}])
def test_scripted_equals_eager(arguments):
    network = small_network(**arguments).eval()
    network.set_frozen_stages(2)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    with torch.no_grad():
        for size in SIZES:
            image = torch.randn(1, 3, *size)
            torch.testing.assert_close(scripted(image), network(image))


@pytest.mark.parametrize("upsample", ["deconv", "bilinear"])
def test_exported_program_equals_eager_at_other_sizes(upsample):
    network = small_network(upsample=upsample).eval()
    dim = torch.export.Dim
    shapes = {"x": {0: dim("batch", max=64), 2: dim("height", min=32, max=2048), 3: dim("width", min=32, max=2048)}}
    exported = torch.export.export(network, (torch.randn(2, 3, 64, 48),), dynamic_shapes=shapes).module()
    with torch.no_grad():
        for shape in [(2, 3, 64, 48), (1, 3, 32, 32), (3, 3, 35, 61)]:
            image = torch.randn(shape)
            torch.testing.assert_close(exported(image), network(image))


def test_onnx_equals_eager_at_other_sizes():
    network = small_network().eval()
    axes = {"image": {0: "batch", 2: "height", 3: "width"}}
    model = convert_to_onnx(
        network, [torch.randn(2, 3, 64, 48)], input_names=["image"], output_names=["logits"], dynamic_axes=axes
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        for shape in [(2, 3, 64, 48), (1, 3, 32, 32), (1, 3, 35, 61)]:
            image = torch.randn(shape)
            (logits,) = session.run(None, {"image": image.numpy()})
            np.testing.assert_allclose(logits, network(image).numpy(), atol=1e-4, rtol=1e-4)


def test_channels_last_stays_channels_last(network):
    image = torch.randn(2, 1, 35, 50)
    last = small_network(in_channels=1, out_channels=3).eval().to(memory_format=torch.channels_last)
    with torch.no_grad():
        logits = last(image.to(memory_format=torch.channels_last))
        torch.testing.assert_close(logits, network(image), atol=1e-5, rtol=1e-4)
        features = last.decoder(last.encoder(image.to(memory_format=torch.channels_last)))
    assert features.is_contiguous(memory_format=torch.channels_last)


def test_bf16_autocast_computes_in_bf16(network):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(1, 1, 35, 50))
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(logits).all()


def test_gradient_reaches_every_free_parameter():
    network = small_network()
    network.set_frozen_stages([1])
    network(torch.randn(2, 3, 32, 32)).square().mean().backward()
    for name, parameter in network.named_parameters():
        if name.startswith("encoder.stages.1."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            # a bias before batch norm has no effect in exact arithmetic: rounding alone may leave it at zero
            assert name.endswith("bias") or torch.count_nonzero(parameter.grad), name


@pytest.mark.parametrize("frozen", [2, [3, 4], 5])
def test_frozen_weights_and_statistics_do_not_move(frozen):
    network = small_network()
    network.set_frozen_stages(frozen)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    before = [snapshot(stage) for stage in network.encoder_stages()]
    for _ in range(2):
        network.train()
        optimizer.zero_grad(set_to_none=False)
        network(torch.randn(2, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    for number, stage in enumerate(network.encoder_stages()):
        same = [torch.equal(value, before[number][key]) for key, value in stage.state_dict().items()]
        assert all(same) if number in network.frozen_stages else not any(same), number


def test_stage_frozen_after_training_does_not_move():
    network = small_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(3):
        if step == 1:
            network.freeze_encoder([0])
            before = snapshot(network.encoder.stages[0])
        network.train()
        optimizer.zero_grad(set_to_none=False)
        network(torch.randn(2, 3, 32, 32)).square().mean().backward()
        optimizer.step()
    for key, value in network.encoder.stages[0].state_dict().items():
        assert torch.equal(value, before[key]), key


def test_leading_frozen_stages_keep_no_activations():
    network = small_network()
    kept = []
    for frozen in (0, 3, 5):
        network.set_frozen_stages(frozen)
        sizes: list[int] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t)
        with hooks:
            maps = network.encoder(torch.randn(1, 3, 32, 32))
        kept.append(sum(sizes))
        assert [m.requires_grad for m in maps] == [number >= frozen for number in range(5)]
    assert kept[0] > kept[1] > kept[2] == 0


def test_stages_are_frozen_and_freed_one_by_one():
    network = small_network()
    network.freeze_encoder([1, 2])
    network.freeze_encoder([4])
    assert network.frozen_stages == (1, 2, 4)
    network.unfreeze_encoder([2])
    assert network.frozen_stages == (1, 4)
    network.unfreeze_encoder()
    assert network.frozen_stages == ()
    network.freeze_encoder()
    assert network.frozen_stages == (0, 1, 2, 3, 4)
    assert len(network.encoder_stages()) == 5


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 1, 32, 32, 8)])
def test_image_of_another_rank_is_refused(network, shape):
    with pytest.raises(ImageContentError, match=r"got an image of shape .*expected \(batch, 1, height, width\)"):
        network(torch.zeros(shape))


def test_image_with_other_channels_is_refused(network):
    with pytest.raises(ImageContentError, match=r"3 channels, expected 1.*VGG16UNet\(in_channels=3\)"):
        network(torch.zeros(1, 3, 32, 32))


def test_integer_image_is_refused(network):
    with pytest.raises(ImageContentError, match=r"type torch\.uint8, expected floating point"):
        network(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"spatial_dims": 3}, "spatial_dims=3, expected 2"),
        ({"in_channels": 0}, "in_channels=0, expected 1 or more"),
        ({"out_channels": 0}, "out_channels=0, expected the number of classes"),
        ({"decoder_channels": (8, 8, 8)}, "expected 4 numbers"),
        ({"upsample": "pixelshuffle"}, "expected one of deconv, bilinear"),
        ({"dropout": 1.5}, "dropout=1.5, expected a probability"),
    ],
)
def test_arguments_that_make_no_network_are_refused(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        VGG16UNet(**arguments)


def test_wrapped_network_is_found(network):
    assert find_vgg16_unet(nn.DataParallel(network)) is network
    assert find_vgg16_unet(torch.compile(network)) is network
    with pytest.raises(ConfigurationError, match="got a Linear, expected a VGG16UNet"):
        find_vgg16_unet(nn.Linear(1, 1))


def test_monai_config_finds_the_short_name():
    """Undocumented: MONAI's locator searches every loaded module whose name starts with "monai"."""
    parser = ConfigParser({"network": {"_target_": "VGG16UNet", "in_channels": 1, "decoder_channels": [8, 8, 8, 8]}})
    assert type(parser.get_parsed_content("network")) is VGG16UNet


def test_no_short_name_hides_one_of_monai():
    locator = ComponentLocator()
    for name in networks.__all__:
        assert str(locator.get_component_module_name(name)).startswith("monai_vggunet.networks."), name


@pytest.mark.parametrize("arguments", [{}, {"batch_norm": False}, {"upsample": "bilinear"}])
def test_untrained_logits_are_of_the_order_of_one(arguments):
    """He initialization neither blows up nor drowns the signal on its way through 23 convolutions."""
    with torch.no_grad():
        logits = VGG16UNet(**arguments)(torch.randn(2, 3, 32, 32))
    assert 0.1 < logits.std().item() < 10


def test_training_from_scratch_learns_a_disk():
    network = small_network(in_channels=1)
    axis = torch.arange(32) - 16.0
    disk = ((axis[:, None] ** 2 + axis[None] ** 2) < 64).float()[None, None].repeat(2, 1, 1, 1)
    image = disk + 0.1 * torch.randn_like(disk)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loss_of, losses = DiceCrossEntropyLoss(), []
    for _ in range(6):
        optimizer.zero_grad()
        loss = loss_of(network(image), disk)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses
