"""The moving average against PyTorch's own, and against the formula in float64."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from coloria.errors import CheckpointError
from coloria.train import checkpoint
from coloria.train.ema import Ema, ema_update, warm_decay


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def train(net: nn.Module, steps: int) -> None:
    """Move every parameter and every buffer."""
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        sgd.zero_grad()
        net(torch.randn(2, 3, 8, 8)).square().mean().backward()
        sgd.step()


def test_it_is_the_average_of_pytorch() -> None:
    net = network()
    ours = Ema(net, 0.9, warm_up=False)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(net)  # its first call copies
    for _ in range(5):
        train(net, 1)
        ours.update(net)
        theirs.update_parameters(net)
    wanted = theirs.module.state_dict()
    assert ours.average.keys() == wanted.keys()
    for name, value in ours.average.items():
        if value.is_floating_point():  # the last bit may differ by the order of operations
            torch.testing.assert_close(value, wanted[name], rtol=1e-6, atol=1e-7)
    count = ours.average["1.num_batches_tracked"]
    assert count.dtype == torch.int64
    assert count == 5


def test_the_decay_warms_up() -> None:
    assert [warm_decay(0.999, t) for t in (0, 1, 90, 10**6)] == [0.1, 2 / 11, 0.91, 0.999]
    net = nn.Linear(4, 4)
    ema = Ema(net, 0.7)
    wanted = net.weight.detach().double()
    for t in range(40):
        with torch.no_grad():
            net.weight.normal_()
        ema.update(net)
        d = min(0.7, (1 + t) / (10 + t))
        wanted = d * wanted + (1 - d) * net.weight.detach().double()
    torch.testing.assert_close(ema.average["weight"].double(), wanted, rtol=1e-5, atol=1e-6)


def test_half_precision_weights_have_a_float32_average() -> None:
    net = nn.Linear(8, 8).bfloat16()
    ema = Ema(net, 0.999, warm_up=False)
    start = net.weight.detach().double()
    with torch.no_grad():
        net.weight += 1
    for _ in range(100):
        ema.update(net)
    moved = (ema.average["weight"].double() - start).mean()  # in bfloat16 nothing would move
    torch.testing.assert_close(moved.item(), 1 - 0.999**100, rtol=1e-2, atol=0)


def test_update_changes_nothing_but_the_averages() -> None:
    average, params = [torch.zeros(3), torch.zeros(2)], [torch.ones(3), torch.full((2,), 4.0)]
    ema_update(average, params, 0.75)
    assert [a.tolist() for a in average] == [[0.25] * 3, [1.0] * 2]
    assert [p.tolist() for p in params] == [[1.0] * 3, [4.0] * 2]
    ema_update([], [], 0.75)


def test_the_block_has_the_averages_and_gives_all_back() -> None:
    net = network()
    ema = Ema(net, 0.9)
    train(net, 3)
    ema.update(net)
    own = copy.deepcopy(net.state_dict())
    averaged = network(1)
    averaged.load_state_dict(ema.average)
    picture = torch.randn(1, 3, 8, 8)
    with ema.applied(net):
        assert torch.equal(net.eval()(picture), averaged.eval()(picture))
    with pytest.raises(KeyboardInterrupt), ema.applied(net):
        raise KeyboardInterrupt
    for name, value in net.state_dict().items():
        assert torch.equal(value, own[name]), name
    assert all(p.requires_grad for p in net.parameters())


def test_it_goes_on_from_a_checkpoint_bit_by_bit(tmp_path: Path) -> None:
    net = network()
    through, resumed = Ema(net, 0.9), Ema(network(5), 0.9)
    train(net, 2)
    through.update(net)
    checkpoint.save(tmp_path / "a.pt", through.state_dict())
    resumed.load_state_dict(checkpoint.load(tmp_path / "a.pt"))
    train(net, 2)
    through.update(net)
    resumed.update(net)
    assert through.updates == resumed.updates == 2
    for name, value in through.average.items():
        assert torch.equal(value, resumed.average[name]), name


def test_an_average_of_another_network_is_refused() -> None:
    state = Ema(nn.Linear(2, 3), 0.9).state_dict()
    with pytest.raises(CheckpointError, match=r"'bias' has the shape \(3,\) .* and \(4,\)"):
        Ema(nn.Linear(2, 4), 0.9).load_state_dict(state)
    with pytest.raises(CheckpointError, match="has the shape None in the checkpoint"):
        Ema(network(), 0.9).load_state_dict(state)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"got {decay}"):
        Ema(nn.Linear(1, 1), decay)


def test_singular_vectors_of_spectral_norms_are_copied_not_averaged() -> None:
    """Their mean has no unit length: it would make the folded kernel too large."""
    conv = nn.utils.spectral_norm(nn.Conv2d(3, 8, 3, bias=False))
    ema = Ema(conv, 0.99, warm_up=False)
    for _ in range(20):
        with torch.no_grad():
            conv.weight_orig.add_(torch.randn_like(conv.weight_orig))
        conv(torch.zeros(1, 3, 4, 4))  # one power iteration
        ema.update(conv)
    assert torch.equal(ema.average["weight_u"], conv.weight_u)
    assert torch.equal(ema.average["weight_v"], conv.weight_v)
    assert not torch.equal(ema.average["weight_orig"], conv.weight_orig)
