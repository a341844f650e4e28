"""The networks' sizes, shapes and seeds."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from localgd import NetworkProblem, run
from localgd.networks import LeNet, ResNet18, SoftmaxLayer, seeded

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")

# What the numbers of parameters are made of:
# SoftmaxLayer: 784·10 + 10; 14·14·10 + 10; 7·7·10 with and without 10; 3·16·16·4 + 4
# LeNet: 6·(25 + 1) + 16·(6·25 + 1) + 120·(256 + 1) + 84·(120 + 1) + 10·(84 + 1)
# ResNet18: see test_resnet_parameters_by_the_formula
NETWORKS = [
    (lambda: SoftmaxLayer(), (1, 28, 28), 10, 7850),
    (lambda: SoftmaxLayer(pools=1), (1, 28, 28), 10, 1970),
    (lambda: SoftmaxLayer(pools=2), (1, 28, 28), 10, 500),
    (lambda: SoftmaxLayer(pools=2, bias=False), (1, 28, 28), 10, 490),
    (lambda: SoftmaxLayer(32, 3, pools=1, num_classes=4), (3, 32, 32), 4, 3076),
    (LeNet, (1, 28, 28), 10, 44_426),
    (lambda: LeNet(nn.Tanh), (1, 28, 28), 10, 44_426),
    (lambda: ResNet18(), (3, 32, 32), 10, 11_173_962),
    (lambda: ResNet18(width=8), (3, 32, 32), 10, 176_402),
    (lambda: ResNet18(num_classes=3, width=1), (3, 9, 7), 3, 2928),
]


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("make", "shape", "num_classes", "size"), NETWORKS)
def test_parameters_and_shapes(make, shape, num_classes, size):
    module = seeded(make, 0)
    assert num_parameters(module) == size
    for n in (1, 3):
        outputs = module.eval()(torch.zeros(n, *shape))
        assert outputs.shape == (n, num_classes)
        assert outputs.isfinite().all()


@pytest.mark.parametrize("width", [1, 5, 64])
def test_resnet_parameters_by_the_formula(width):
    w = width
    # The stem, then four convolutions in the first stage, one wider and three in each other.
    convolutions = 9 * (3 * w + 4 * w**2 + (2 + 12 + 8 + 48 + 32 + 192) * w**2)
    shortcuts = (2 + 8 + 32) * w**2
    normalisations = 2 * w * (5 + 5 * 2 + 5 * 4 + 5 * 8)
    expected = convolutions + shortcuts + normalisations + 10 * (8 * w + 1)
    assert num_parameters(ResNet18(width=width)) == expected


def test_softmax_layer_takes_maxima_of_two_by_two_windows():
    module = SoftmaxLayer(image_size=4, pools=1, num_classes=4, bias=False)
    module.affine.weight.data = torch.eye(4)
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    # 0  1  2  3
    # 4  5  6  7      the largest: 5, 7
    # 8  9 10 11                  13, 15
    # 12 13 14 15
    assert module(images).tolist() == [[5.0, 7.0, 13.0, 15.0]]


def test_lenet_is_its_convolutions_poolings_and_affine_layers():
    module, images = seeded(LeNet, 1), torch.rand(2, 1, 28, 28)
    weights = list(module.parameters())
    x = images
    for weight, bias in (weights[0:2], weights[2:4]):
        x = torch.relu(nn.functional.conv2d(x, weight, bias)).unfold(2, 2, 2).unfold(3, 2, 2)
        x = x.amax((4, 5))
    x = x.reshape(2, 256)
    for weight, bias in (weights[4:6], weights[6:8]):
        x = torch.relu(x @ weight.T + bias)
    torch.testing.assert_close(module(images), x @ weights[8].T + weights[9])


def test_lenets_activation_can_be_chosen():
    kinds = [type(module) for module in LeNet(nn.Tanh).modules()]
    assert kinds.count(nn.Tanh) == 4
    assert nn.ReLU not in kinds


def test_a_step_of_lenet_on_a_thousand_images_is_1517_gflop():
    module, counter = LeNet(), FlopCounterMode(display=False)
    with counter:
        module(torch.zeros(1000, 1, 28, 28)).sum().backward()
    # A forward pass and the gradients in weights and inputs, but not in the images:
    # 3·(6·24²·25 + 16·8²·150 + 256·120 + 120·84 + 84·10) − 6·24²·25 products and sums a sample
    assert counter.get_total_flops() == 1000 * 2 * (3 * 281_640 - 86_400)
    assert counter.get_total_flops() == pytest.approx(1.517e9, rel=1e-3)


def test_resnet_halves_the_image_three_times():
    module, sizes = ResNet18(width=2), []
    for block in module.blocks:
        block.register_forward_hook(lambda *call: sizes.append(tuple(call[2].shape[1:])))
    module(torch.zeros(2, 3, 32, 32))
    # channels × height × width after each of the eight blocks
    assert sizes == [
        *[(2, 32, 32)] * 2,
        *[(4, 16, 16)] * 2,
        *[(8, 8, 8)] * 2,
        *[(16, 4, 4)] * 2,
    ]


def test_resnet_blocks_add_what_they_were_given():
    block = ResNet18(width=3).blocks[0]
    nn.init.zeros_(block.residual[-1].weight)  # the last BatchNorm: the residual vanishes
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(block(images), torch.relu(images))


def test_seeded_modules_are_equal_for_equal_seeds_alone():
    first, again, other = (seeded(LeNet, seed) for seed in (3, 3, 4))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        plain = LeNet()
    assert torch.equal(plain.features[0].weight, first.features[0].weight)


def test_seeded_leaves_the_global_generator_as_it_was():
    before, initial = torch.random.get_rng_state(), torch.initial_seed()
    seeded(lambda: ResNet18(width=2), 5)
    with pytest.raises(ValueError, match="width=0"):
        seeded(lambda: ResNet18(width=0), 5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.initial_seed() == initial


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftmaxLayer(0), "image_size=0 must be at least 1"),
        (lambda: SoftmaxLayer(channels=0), "channels=0 must be at least 1"),
        (lambda: SoftmaxLayer(num_classes=0), "num_classes=0 must be at least 1"),
        (lambda: SoftmaxLayer(pools=3), "pools=3: image_size=28 cannot be halved so often"),
        (lambda: SoftmaxLayer(pools=-1), "pools=-1"),
        (lambda: ResNet18(width=0), "width=0 must be at least 1"),
        (lambda: ResNet18(num_classes=-1), "num_classes=-1 must be at least 1"),
    ],
)
def test_networks_that_cannot_be_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [SoftmaxLayer, LeNet])
@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 3, 28, 28), (1, 28, 28), (2, 784)])
def test_images_of_another_shape_are_errors(make, shape):
    with pytest.raises(
        ValueError, match=r"the images have shape \(.*\), expected \(n, 1, 28, 28\)"
    ):
        make()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: SoftmaxLayer(pools=2), (1, 28, 28)),
        (LeNet, (1, 28, 28)),
        (lambda: ResNet18(width=2), (3, 16, 16)),
    ],
)
def test_local_gd_runs_on_them(make, shape):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(2, 3, *shape, generator=generator)
    targets = torch.tensor([[0, 1, 2], [3, 4, 5]])
    problem = NetworkProblem(seeded(make, 0), inputs, targets, CROSS_ENTROPY)
    trace = run(problem, local_steps=2, step_size=0.01, rounds=2)
    assert trace.loss[-1] < trace.loss[0]
