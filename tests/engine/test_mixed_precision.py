import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn
from torch.utils.checkpoint import checkpoint

from fnoise_mmdet.engine import mixed_precision
from fnoise_mmdet.engine.mixed_precision import CPUAmpOptimWrapper, computes_in_bfloat16, use_amp


class Layers(nn.Module):
    """A layer of each kind that is computed in bfloat16, and one that is not."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.up, self.linear = nn.ConvTranspose2d(8, 4, 2, bias=False), nn.Linear(4, 2)

    def forward(self, x):
        x = self.up(self.norm(self.conv(x)).relu())
        return self.linear(x.mean((2, 3)))


def gradients(wrapper, checkpointed=False):
    torch.manual_seed(0)
    model = Layers()
    wrapper = wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    x = torch.randn(4, 3, 8, 8, requires_grad=True)
    with wrapper.optim_context(model):
        y = checkpoint(model, x, use_reentrant=False) if checkpointed else model(x)
        loss = y.square().mean()
    wrapper.backward(loss)
    assert {loss.dtype, x.grad.dtype, *(parameter.grad.dtype for parameter in model.parameters())} == {torch.float32}
    return torch.cat([x.grad.flatten(), *(parameter.grad.flatten() for parameter in model.parameters())]), y


def test_matrices_are_multiplied_in_bfloat16_and_nothing_else():
    rounded = nn.Linear(64, 64)
    x = torch.randn(5, 64)
    expected = torch.nn.functional.linear(x.bfloat16(), rounded.weight.bfloat16(), rounded.bias.bfloat16()).float()
    with CPUAmpOptimWrapper(torch.optim.SGD(rounded.parameters(), lr=0.1)).optim_context(rounded):
        y, product = rounded(x), x @ x.T
    assert torch.equal(y, expected) and not torch.equal(y, rounded(x))
    assert torch.equal(product, x @ x.T)  # no layer
    assert torch.equal(rounded(x), rounded(x.double().float()))  # outside, nothing is changed


def test_a_backward_pass_within_the_context_leaves_nothing_behind():
    model = nn.Linear(8, 8)
    wrapper = CPUAmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with wrapper.optim_context(model):
        wrapper.backward(model(torch.randn(2, 8)).sum())
    assert 'forward' not in vars(model)


def test_gradients_are_those_of_single_precision_up_to_rounding():
    plain, outputs = gradients(OptimWrapper)
    mixed, mixed_outputs = gradients(CPUAmpOptimWrapper)
    assert 0 < (mixed_outputs - outputs).norm() < 0.02 * outputs.norm()
    assert 0 < (mixed - plain).norm() < 0.05 * plain.norm()  # some roundings of 2^-9 each


def test_what_gradient_checkpointing_runs_again_is_the_same():
    assert torch.equal(gradients(CPUAmpOptimWrapper)[0], gradients(CPUAmpOptimWrapper, checkpointed=True)[0])


@pytest.mark.parametrize('gpu', [False, True])
def test_the_means_are_those_of_the_device(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=512.0, clip_grad=dict(max_norm=1))))
    use_amp(cfg)
    expected = dict(type='AmpOptimWrapper', loss_scale='dynamic') if gpu else dict(type='CPUAmpOptimWrapper')
    assert cfg.optim_wrapper == dict(clip_grad=dict(max_norm=1), **expected)


def test_processors_with_bfloat16_are_known(monkeypatch, tmp_path):
    for flags, expected in (('fpu avx512f avx512_bf16', True), ('fpu avx2', False), ('fp asimd bf16', True)):
        (tmp_path / 'cpuinfo').write_text(f'processor : 0\nflags : {flags}\n')
        monkeypatch.setattr(mixed_precision, 'Path', lambda _: tmp_path / 'cpuinfo')
        assert computes_in_bfloat16() is expected


def test_a_detector_trains_in_mixed_precision(train, read_rows):
    """Losses are those of single precision up to rounding: the first ones, which later weights have no part in."""
    rows = {}
    for name in ('OptimWrapper', 'CPUAmpOptimWrapper'):
        runner = train('demo_fnoise.py', name, **{'optim_wrapper.type': name})
        rows[name] = [row for row in read_rows(runner) if 'loss' in row]
    plain, mixed = rows.values()
    assert 0 < abs(mixed[0]['loss'] - plain[0]['loss']) < 0.02 * plain[0]['loss']
    assert len(mixed) == len(plain) == 4
