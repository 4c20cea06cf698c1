"""Networks: parameter counts, initialisation, shapes and memory formats."""

import math

import pytest
import torch
from torch import nn

from srsgd_ray.config import TrainConfig
from srsgd_ray.models import PreResNet, build_model

# FACTS of the published code: bottleneck networks on CIFAR-10, by depth.
PUBLISHED = {110: 1_146_842, 290: 3_001_562, 470: 4_856_282, 650: 6_711_002, 1001: 10_327_706}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def digits_model(**changes: object) -> nn.Module:
    return build_model(TrainConfig().replace(**changes), channels=1, classes=10)


@pytest.mark.parametrize(("depth", "parameters"), PUBLISHED.items())
def test_parameter_counts_are_the_published_ones(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(PreResNet(depth, "bottleneck")) == parameters
        assert count(PreResNet(depth, "bottleneck", classes=100)) == parameters + 23_130


def test_parameter_count_of_a_basic_network_by_hand() -> None:
    stem = 1 * 16 * 9
    stage1 = 2 * 16 + 16 * 16 * 9 + 2 * 16 + 16 * 16 * 9
    stage2 = 2 * 16 + 16 * 32 * 9 + 2 * 32 + 32 * 32 * 9 + 16 * 32
    stage3 = 2 * 32 + 32 * 64 * 9 + 2 * 64 + 64 * 64 * 9 + 32 * 64
    head = 2 * 64 + 64 * 10 + 10
    assert stem + stage1 + stage2 + stage3 + head == 77_562
    assert count(digits_model(depth=8)) == 77_562
    # Each further group of 6 layers adds a block without a shortcut to every stage.
    more = sum(2 * (2 * w + w * w * 9) for w in (16, 32, 64))
    assert count(digits_model(depth=14)) == 77_562 + more


@pytest.mark.parametrize(("depth", "block"), [(8, "basic"), (11, "bottleneck")])
@pytest.mark.parametrize("size", [4, 8, 32])
def test_forward_and_backward(depth: int, block: str, size: int) -> None:
    model = digits_model(depth=depth, block=block, width=4)
    logits = model(torch.rand(3, 1, size, size))
    assert logits.shape == (3, 10)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_spatial_sizes_halve_twice() -> None:
    with torch.device("meta"):
        model = PreResNet(8, "basic")
        assert model.stages(model.stem(torch.empty(1, 3, 32, 32))).shape == (1, 64, 8, 8)


def test_shortcuts_only_where_the_shape_changes_and_of_the_raw_input() -> None:
    model = digits_model(depth=14)
    shortcuts = [m.shortcut for stage in model.stages for m in stage]  # type: ignore[union-attr]
    assert [isinstance(s, nn.Conv2d) for s in shortcuts] == [False, False, True, False, True, False]
    block = model.stages[1][0]  # type: ignore[index]
    x = torch.rand(2, 16, 8, 8)
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
    assert torch.equal(block(x), block.shortcut(x))


def test_initialisation_distributions() -> None:
    model = digits_model(depth=20)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            std = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            assert module.weight.std().item() == pytest.approx(std, rel=0.05)
            assert abs(module.weight.mean().item()) < 0.05 * std
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
            assert (module.running_var == 1).all() and (module.running_mean == 0).all()
            assert module.num_batches_tracked == 0
        elif isinstance(module, nn.Linear):
            for values in (module.weight, module.bias):
                assert 0.05 < values.abs().max().item() <= 1 / 8


def test_initialisation_depends_on_the_seed_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (digits_model(seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    weights = [key for key in one if "conv" in key or "stem" in key or "head" in key]
    assert len(weights) == 1 + 6 + 2
    assert not any(torch.equal(one[key], other[key]) for key in weights)
    assert all(value.device.type == "cpu" for value in one.values())


def test_channels_last_gives_the_same_logits() -> None:
    model = digits_model(depth=8).eval()
    x = torch.rand(4, 1, 8, 8)
    expected = model(x)
    model.to(memory_format=torch.channels_last)
    assert model.stem.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr]
    actual = model(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_exports_as_one_graph() -> None:
    """No graph break: the network is one graph, which torch.compile needs to be of use."""
    model = digits_model(depth=8).eval()
    x = torch.rand(2, 1, 8, 8)
    exported = torch.export.export(model, (x,))
    torch.testing.assert_close(exported.module()(x), model(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vgg"}, "unknown model 'vgg'. Valid: preresnet."),
        ({"block": "wide"}, "unknown block 'wide'. Valid: basic, bottleneck."),
        ({"depth": 9}, r"depth must be 6n \+ 2 for block='basic', but got depth=9"),
        ({"depth": 2}, r"depth must be 6n \+ 2"),
        ({"depth": 8, "block": "bottleneck"}, r"depth must be 9n \+ 2"),
        ({"width": 0}, "width >= 1 must hold, but got width=0"),
    ],
)
def test_bad_configs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        digits_model(**changes)


@pytest.mark.parametrize("name", ["channels", "classes"])
def test_bad_sizes(name: str) -> None:
    sizes = {"channels": 1, "classes": 10, name: 0}
    with pytest.raises(ValueError, match=f"{name} >= 1 must hold, but got {name}=0"):
        build_model(TrainConfig(), **sizes)
