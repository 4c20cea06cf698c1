"""Networks: parameter counts, structure, initialisation, shapes, memory formats, refusals."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srsgd_ray.config import MODELS, TrainConfig
from srsgd_ray.models import (
    alexnet,
    build_model,
    densenet,
    preresnet,
    resnet,
    resnext,
    vgg,
    vgg_bn,
    wide_resnet,
)
from srsgd_ray.models.vgg import CONVOLUTIONS as VGG_DEPTHS
from srsgd_ray.parts import networks

# FACTS of the published code: bottleneck networks on CIFAR-10, by depth.
PUBLISHED = {110: 1_146_842, 290: 3_001_562, 470: 4_856_282, 650: 6_711_002, 1001: 10_327_706}

# A small network of every kind for small images, and every block.
CASES: dict[str, dict[str, Any]] = {
    "preresnet-basic": {"model": "preresnet", "depth": 8, "width": 4},
    "preresnet-bottleneck": {
        "model": "preresnet",
        "depth": 11,
        "width": 4,
        "block": "bottleneck",
    },
    "resnet-basic": {"model": "resnet", "depth": 14, "width": 4},
    "resnet-bottleneck": {"model": "resnet", "depth": 11, "width": 4, "block": "bottleneck"},
    "wide_resnet": {"model": "wide_resnet", "depth": 10, "widen_factor": 2},
    "wide_resnet-1": {"model": "wide_resnet", "depth": 16, "widen_factor": 1, "dropout": 0.3},
    "resnext": {"model": "resnext", "depth": 11, "cardinality": 2, "widen_factor": 2},
    "resnext-1": {"model": "resnext", "depth": 11, "cardinality": 1, "widen_factor": 1},
    "densenet-basic": {
        "model": "densenet",
        "depth": 10,
        "growth_rate": 4,
        "compression": 1.0,
        "dropout": 0.3,
    },
    "densenet-bottleneck": {
        "model": "densenet",
        "depth": 16,
        "growth_rate": 4,
        "block": "bottleneck",
    },
    "vgg": {"model": "vgg", "depth": 11, "dataset": "cifar10"},
    "vgg_bn": {"model": "vgg_bn", "depth": 11, "dataset": "cifar10"},
    "alexnet": {"model": "alexnet", "dataset": "cifar10"},
}
TAKE_8_PIXELS = [case for case, changes in CASES.items() if "dataset" not in changes]
IMAGENET = [name for name, found in networks().items() if not found.small]
SMALL = [name for name, found in networks().items() if found.small]

every_case = pytest.mark.parametrize("case", CASES)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def digits_model(**changes: object) -> nn.Module:
    return build_model(TrainConfig().replace(**changes), channels=1, classes=10)


def case_model(case: str, *, channels: int = 3, classes: int = 10, **changes: object) -> nn.Module:
    config = TrainConfig().replace(**{**CASES[case], **changes})
    return build_model(config, channels=channels, classes=classes)


def images(number: int, channels: int = 3, size: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(number, channels, size, size, generator=generator)


# Names


def test_every_name_has_a_network_and_every_network_a_name() -> None:
    assert all(name.startswith("imagenet_") for name in IMAGENET)
    assert set(MODELS) == set(networks())
    assert {str(changes["model"]) for changes in CASES.values()} == set(SMALL)


def test_every_imagenet_name_is_torchvisions() -> None:
    from torchvision import models

    theirs = {f"imagenet_{name}" for name in models.list_models(module=models)}
    assert set(IMAGENET) - theirs == {"imagenet_resnet200"}


def test_torchvision_is_imported_only_for_its_networks() -> None:
    code = "import sys, srsgd_ray.models; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_rules_need_no_torch() -> None:
    code = (
        "import sys; from srsgd_ray.config import TrainConfig; TrainConfig(model='vgg', depth=13, "
        "dataset='cifar10', data_dir='x').check(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Parameter counts


@pytest.mark.parametrize(("depth", "parameters"), PUBLISHED.items())
def test_parameter_counts_are_the_published_ones(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(preresnet(depth, "bottleneck")) == parameters
        assert count(preresnet(depth, "bottleneck", classes=100)) == parameters + 23_130


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


def resnet_by_hand(n: int) -> int:
    """Basic blocks, batch norm after each convolution, shortcuts at the start of two stages."""
    blocks = sum(n * (2 * 9 * w * w + 4 * w) for w in (16, 32, 64))
    narrower_start = sum(-9 * (w // 2) * w for w in (32, 64))
    shortcuts = sum(w // 2 * w + 2 * w for w in (32, 64))
    return 3 * 16 * 9 + 2 * 16 + blocks + narrower_start + shortcuts + 64 * 10 + 10


def wide_resnet_by_hand(n: int, k: int) -> int:
    total = 3 * 16 * 9
    before = 16
    for w in (16 * k, 32 * k, 64 * k):
        total += 2 * before + 9 * before * w + 2 * w + 9 * w * w + before * w
        total += (n - 1) * 2 * (2 * w + 9 * w * w)
        before = w
    return total + 2 * before + 10 * before + 10


def resnext_by_hand(n: int, groups: int, widen: int) -> int:
    total = 3 * 64 * 9 + 2 * 64
    before = 64
    for w in (64, 128, 256):
        inner, out = groups * w, widen * w
        kept = 2 * inner + groups * 9 * w * w + 2 * inner + inner * out + 2 * out
        total += before * inner + kept + before * out + 2 * out
        total += (n - 1) * (out * inner + kept)
        before = out
    return total + 10 * before + 10


def densenet_bc_by_hand(n: int, growth: int) -> int:
    wide = 2 * growth
    total = 3 * wide * 9
    for stage in range(3):
        if stage:
            total += 2 * wide + wide * (wide // 2)
            wide //= 2
        for _ in range(n):
            total += 2 * wide + wide * 4 * growth + 8 * growth + 9 * 4 * growth * growth
            wide += growth
    return total + 2 * wide + 10 * wide + 10


VGG19_WIDTHS = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
VGG19_BY_HAND = (
    sum(9 * a * b + b for a, b in zip([3, *VGG19_WIDTHS], VGG19_WIDTHS, strict=False)) + 5130
)
ALEXNET_BY_HAND = (
    (3 * 121 + 1) * 64
    + (64 * 25 + 1) * 192
    + (192 * 9 + 1) * 384
    + (384 * 9 + 1) * 256
    + (256 * 9 + 1) * 256
    + 2570
)


@pytest.mark.parametrize(
    ("make", "by_hand", "known"),
    [
        (lambda: resnet(110, "basic"), resnet_by_hand(18), 1.73),
        (lambda: wide_resnet(28, widen_factor=10), wide_resnet_by_hand(4, 10), 36.48),
        (lambda: resnext(29), resnext_by_hand(3, 8, 4), 34.43),
        (lambda: resnext(29, cardinality=16), resnext_by_hand(3, 16, 4), 68.16),
        (lambda: densenet(100, "bottleneck"), densenet_bc_by_hand(16, 12), 0.77),
        (
            lambda: densenet(190, "bottleneck", growth_rate=40),
            densenet_bc_by_hand(31, 40),
            25.62,
        ),
        (lambda: vgg(19), VGG19_BY_HAND, 20.03),
        (lambda: vgg_bn(19), VGG19_BY_HAND + 2 * sum(VGG19_WIDTHS), 20.04),
        (alexnet, ALEXNET_BY_HAND, 2.47),
    ],
)
def test_parameter_counts_by_hand_and_as_known(make: Any, by_hand: int, known: float) -> None:
    with torch.device("meta"):
        assert count(make()) == by_hand
    assert round(by_hand / 1e6, 2) == known


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet50", 25.56), ("resnet101", 44.55), ("resnet152", 60.19), ("vgg16_bn", 138.37)],
)
def test_parameter_counts_for_imagenet(name: str, millions: float) -> None:
    from torchvision import models

    with torch.device("meta"):
        model = getattr(models, name)(weights=None, num_classes=1000)
    assert round(count(model) / 1e6, 2) == millions


# Shapes


@every_case
def test_forward_and_backward(case: str) -> None:
    sizes = [4, 8, 32] if case in TAKE_8_PIXELS else [32]
    for size, channels in zip(sizes, (1, 1, 3), strict=False):
        model = case_model(case, channels=channels, classes=7)
        logits = model(images(3, channels, size))
        assert logits.shape == (3, 7)
        logits.square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.parametrize("model", ["vgg", "vgg_bn"])
@pytest.mark.parametrize("depth", VGG_DEPTHS)
def test_vgg_has_as_many_layers_as_its_depth(model: str, depth: int) -> None:
    with torch.device("meta"):
        network = {"vgg": vgg, "vgg_bn": vgg_bn}[model](depth)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)
    # Three linear layers in the paper, one here.
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == depth - 3


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: preresnet(8, "basic"), 8),
        (lambda: resnet(20, "bottleneck"), 20),
        (lambda: wide_resnet(16), 13 + 1),
        (lambda: resnext(29), 29),
        (lambda: densenet(22, "basic"), 22),
        (lambda: densenet(22, "bottleneck"), 22),
    ],
)
def test_depth_counts_the_layers_but_shortcuts(make: Any, expected: int) -> None:
    with torch.device("meta"):
        layers = [n for n, m in make().named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum("shortcut" not in name for name in layers) == expected


@pytest.mark.parametrize(
    ("make", "wide"),
    [
        (lambda: preresnet(8, "basic"), 64),
        (lambda: resnet(11, "bottleneck"), 256),
        (lambda: wide_resnet(10), 256),
        (lambda: resnext(11), 1024),
        (lambda: densenet(10, "bottleneck"), 27),
    ],
)
def test_spatial_sizes_halve_twice(make: Any, wide: int) -> None:
    with torch.device("meta"):
        model = make()
        inputs = torch.empty(1, model.stem.out_channels, 32, 32)
        assert model.stages(inputs).shape == (1, wide, 8, 8)


def test_imagenet_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    config = TrainConfig(dataset="imagenet", model="imagenet_resnet18")
    before = torch.get_rng_state()
    with monkeypatch.context() as patch:
        # A GPU's generator is global state too.
        patch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("seeds the GPUs"))
        model, other = (
            build_model(config.replace(seed=seed), channels=3, classes=5) for seed in (3, 4)
        )
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = models.resnet18(weights=None, num_classes=5).state_dict()
    assert all(torch.equal(theirs[key], value) for key, value in model.state_dict().items())
    assert not torch.equal(model.conv1.weight, other.conv1.weight)  # type: ignore[arg-type,union-attr]
    logits = model(images(2, size=64))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_imagenet_resnet200() -> None:
    config = TrainConfig(dataset="imagenet", model="imagenet_resnet200")
    model = build_model(config, channels=3, classes=1000)
    assert round(count(model) / 1e6, 2) == 64.67
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert sum("downsample" not in name for name in convolutions) == 199


# Structure


def test_shortcuts_only_where_the_shape_changes_and_of_the_raw_input() -> None:
    model = digits_model(depth=14)
    shortcuts = [m.shortcut for stage in model.stages for m in stage]  # type: ignore[union-attr]
    assert [isinstance(s, nn.Conv2d) for s in shortcuts] == [False, False, True, False, True, False]
    block = model.stages[1][0]  # type: ignore[index]
    x = images(2, 16, 8)
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
    assert torch.equal(block(x), block.shortcut(x))


@pytest.mark.parametrize("case", ["resnet-basic", "resnet-bottleneck", "resnext", "resnext-1"])
def test_blocks_after_activation(case: str) -> None:
    model = case_model(case)
    for stage in model.stages:  # type: ignore[union-attr]
        block = stage[0]
        inputs = block.conv1.in_channels
        last = [m for m in block.children() if isinstance(m, nn.BatchNorm2d)][-1]
        nn.init.zeros_(last.weight)
        x = images(2, inputs, 8) - 0.5
        assert torch.equal(block(x), F.relu(block.shortcut(x)))
        changes = inputs != block.wide
        assert isinstance(block.shortcut, nn.Sequential if changes else nn.Identity)


def test_wide_blocks_take_the_shortcut_from_the_activated_input() -> None:
    model = case_model("wide_resnet")
    for stage in model.stages:  # type: ignore[union-attr]
        block = stage[0]
        nn.init.zeros_(block.conv2.weight)
        x = images(2, block.conv1.in_channels, 8) - 0.5
        assert torch.equal(block(x), block.shortcut(F.relu(block.norm1(x))))
    narrow = case_model("wide_resnet-1").stages[0][0].shortcut
    assert isinstance(narrow, nn.Identity)


def test_resnext_groups_have_64_128_and_256_channels() -> None:
    with torch.device("meta"):
        model = resnext(29, cardinality=16)
    for stage, width in zip(model.stages, (64, 128, 256), strict=True):
        for block in stage:  # type: ignore[attr-defined]
            assert block.conv2.groups == 16
            assert block.conv2.weight.shape == (16 * width, width, 3, 3)
            assert block.conv3.out_channels == 4 * width


@pytest.mark.parametrize("case", ["densenet-basic", "densenet-bottleneck"])
def test_dense_blocks_keep_what_they_get(case: str) -> None:
    model = case_model(case, dropout=0.0)
    block = model.stages[0]  # type: ignore[index]
    x = images(2, 8, 8)
    y = block(x)
    assert y.shape == (2, 8 + 4, 8, 8)
    assert torch.equal(y[:, :8], x)


def test_compression_rounds_down() -> None:
    with torch.device("meta"):
        model = densenet(7, "basic", growth_rate=5, compression=2.0)
    # 10 + 5 = 15 become 7, and 7 + 5 = 12 become 6, and 6 + 5 are left.
    assert model.head.in_features == 11


# Initialisation


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


def test_initialisation_begins_with_the_first_draws_of_the_seed() -> None:
    """So that a seed goes on to mean the same weights."""
    first = torch.empty(16, 1, 3, 3)
    first.normal_(0.0, math.sqrt(2 / (9 * 16)), generator=torch.Generator().manual_seed(5))
    assert torch.equal(digits_model(seed=5).stem.weight, first)  # type: ignore[arg-type,union-attr]


@every_case
def test_initialisation_reaches_every_value(case: str) -> None:
    model = case_model(case)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    for value in model.state_dict().values():
        value.fill_(99 if value.dtype == torch.long else math.nan)
    model.initialise(torch.Generator().manual_seed(0))  # type: ignore[operator]
    for key, value in model.state_dict().items():
        assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize(
    ("case", "deviation"),
    [
        ("wide_resnet", 1 / math.sqrt(3 * 128)),
        ("resnext", math.sqrt(2 / 512)),
        ("vgg", 0.01),
        ("vgg_bn", 0.01),
    ],
)
def test_linear_layers_of_their_own(case: str, deviation: float) -> None:
    head = case_model(case, classes=50).head
    assert isinstance(head, nn.Linear)
    assert head.weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert not head.bias.any()


def test_vgg_convolutions_start_without_bias_and_alexnet_as_torch_does() -> None:
    convolutions = [m for m in case_model("vgg").modules() if isinstance(m, nn.Conv2d)]
    assert all(m.bias is not None and not m.bias.any() for m in convolutions)
    for module in case_model("alexnet").modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for values in (module.weight, module.bias):
                assert values is not None
                largest = values.abs().max().item()
                assert (0.97 if values.numel() > 60 else 0.5) * bound < largest <= bound


@every_case
def test_initialisation_depends_on_the_seed_alone(case: str) -> None:
    before = torch.get_rng_state()
    one, same, other = (case_model(case, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    weights = [key for key, value in one.items() if value.dim() > 1]
    assert len(weights) > 5
    assert not any(torch.equal(one[key], other[key]) for key in weights)
    assert all(value.device.type == "cpu" for value in one.values())


# Behaviour


@pytest.mark.parametrize("case", ["wide_resnet", "densenet-basic", "densenet-bottleneck"])
def test_dropout_acts_in_training_only(case: str) -> None:
    x = images(4, size=8)
    plain, dropping = (case_model(case, dropout=dropout) for dropout in (0.0, 0.5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs = [dropping(x) for _ in range(2)]
        assert not torch.equal(*outputs)
        assert not torch.equal(outputs[0], plain(x))
    for model in (plain, dropping):
        model.load_state_dict(case_model(case).state_dict())  # batch norm has seen x
        model.eval()
    assert torch.equal(dropping(x), plain(x))


@every_case
def test_training_without_dropout_draws_nothing(case: str) -> None:
    before = torch.get_rng_state()
    case_model(case, dropout=0.0)(images(2))
    assert torch.equal(torch.get_rng_state(), before)


@every_case
def test_channels_last_gives_the_same_logits(case: str) -> None:
    model = case_model(case).eval()
    x = images(4)
    expected = model(x)
    model.to(memory_format=torch.channels_last)
    convolution = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    actual = model(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@every_case
def test_exports_as_one_graph(case: str) -> None:
    """No graph break: the network is one graph, which torch.compile needs to be of use."""
    model = case_model(case).eval()
    x = images(2)
    exported = torch.export.export(model, (x,))
    torch.testing.assert_close(exported.module()(x), model(x))


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnt"}, "unknown model 'resnt'. Valid: preresnet, resnet, "),
        ({"block": "wide"}, "unknown block 'wide'. Valid: basic, bottleneck."),
        ({"dataset": "mnist"}, "unknown data set 'mnist'. Valid: digits, "),
        ({"depth": 9}, r"depth must be 6n \+ 2 for block='basic', but got depth=9"),
        ({"depth": 2}, r"depth must be 6n \+ 2"),
        ({"depth": 8, "block": "bottleneck"}, r"depth must be 9n \+ 2"),
        ({"width": 0}, "width >= 1 must hold, but got width=0"),
        ({"model": "resnet", "depth": 21}, r"depth must be 6n \+ 2 .* The nearest is 20\."),
        (
            {"model": "wide_resnet", "depth": 8},
            r"depth must be 6n \+ 4 for model='wide_resnet', but got depth=8. The nearest is 10\.",
        ),
        (
            {"model": "wide_resnet", "depth": 10, "widen_factor": 0},
            "widen_factor >= 1 must hold, but got widen_factor=0",
        ),
        (
            {"model": "resnext", "depth": 30},
            r"depth must be 9n \+ 2 for model='resnext', but got depth=30. The nearest is 29\.",
        ),
        (
            {"model": "resnext", "depth": 11, "cardinality": 0},
            "cardinality >= 1 must hold, but got cardinality=0",
        ),
        (
            {"model": "densenet", "depth": 8},
            r"depth must be 3n \+ 4 for model='densenet' with block='basic', but got depth=8. "
            r"The nearest is 7\.",
        ),
        (
            {"model": "densenet", "depth": 103, "block": "bottleneck"},
            r"depth must be 6n \+ 4 for model='densenet' with block='bottleneck', but got "
            r"depth=103. The nearest is 100\.",
        ),
        ({"model": "densenet", "depth": 4}, r"depth must be 3n \+ 4 .* The nearest is 7\."),
        ({"model": "densenet", "depth": 7, "block": "wide"}, "unknown block 'wide'"),
        (
            {"model": "densenet", "depth": 7, "growth_rate": 0},
            "growth_rate >= 1 must hold, but got growth_rate=0",
        ),
        (
            {"model": "densenet", "depth": 7, "compression": 0.5},
            "compression >= 1 must hold, but got compression=0.5",
        ),
        (
            {"model": "densenet", "depth": 7, "growth_rate": 1, "compression": 4.0},
            "compression <= 3, the channels at a transition, must hold, but got compression=4",
        ),
        (
            {"model": "vgg", "depth": 12, "dataset": "cifar10"},
            "depth must be one of 11, 13, 16, 19 for model='vgg', but got depth=12. "
            r"The nearest is 11\.",
        ),
        (
            {"model": "vgg_bn", "depth": 110, "dataset": "cifar100"},
            r"for model='vgg_bn', but got depth=110. The nearest is 19\.",
        ),
        (
            {"model": "vgg", "depth": 11},
            "model='vgg' needs images of 32 pixels a side, but got dataset='digits', which has 8. "
            "Give cifar10 or cifar100, or another model",
        ),
        ({"model": "vgg_bn", "depth": 11}, "model='vgg_bn' needs images of 32 pixels a side"),
        ({"model": "alexnet"}, "model='alexnet' needs images of 32 pixels a side"),
        (
            {"dataset": "imagenet"},
            "model='preresnet' is for small images, but got dataset='imagenet'. Give a model whose "
            "name begins with imagenet_",
        ),
        (
            {"model": "alexnet", "dataset": "imagenet"},
            "model='alexnet' is for small images, but got dataset='imagenet'",
        ),
        (
            {"model": "imagenet_resnet18", "model_options": {"with": 3}},
            "model='imagenet_resnet18' does not take all of num_classes, with: .*unexpected",
        ),
        (
            {"model": "my_nets:Tiny"},
            "model 'my_nets:Tiny' cannot be imported here: No module named 'my_nets'",
        ),
    ],
)
def test_bad_configs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        digits_model(**changes)


@pytest.mark.parametrize(
    ("model", "block", "depths"),
    [
        ("preresnet", "basic", (8, 20, 110)),
        ("resnet", "bottleneck", (11, 29, 110)),
        ("wide_resnet", "basic", (10, 16, 28, 40)),
        ("resnext", "basic", (11, 29)),
        ("densenet", "basic", (7, 40, 100)),
        ("densenet", "bottleneck", (10, 40, 100, 190)),
        ("vgg", "basic", VGG_DEPTHS),
        ("alexnet", "basic", (1, 8)),
    ],
)
def test_good_depths_pass(model: str, block: str, depths: tuple[int, ...]) -> None:
    for depth in depths:
        config = TrainConfig(model=model, depth=depth, block=block, dataset="cifar10")
        config.check_network()


@every_case
@pytest.mark.parametrize("name", ["channels", "classes"])
def test_bad_sizes(case: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} >= 1 must hold, but got {name}=0"):
        case_model(case, **{name: 0})


def test_bad_number_of_classes_for_imagenet() -> None:
    config = TrainConfig(dataset="imagenet", model="imagenet_resnet18")
    with pytest.raises(ValueError, match="classes >= 1 must hold, but got classes=0"):
        build_model(config, channels=3, classes=0)
