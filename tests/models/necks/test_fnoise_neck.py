import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch.utils.checkpoint import checkpoint

from fnoise_mmdet import FeatureNoise, FNoiseNeck, Noise
from fnoise_mmdet.models.layers import find_noise_layers
from fnoise_mmdet.noise import NOISES
from fnoise_mmdet.visualization.tap import Tap

# With a norm layer, so that buffers travel too.
FPN = dict(type='FPN', in_channels=[4, 8], out_channels=4, num_outs=3, norm_cfg=dict(type='BN'))


@pytest.fixture(autouse=True)
def hub():
    """A run of its own for every test: seed 5, iteration 100."""
    init_default_scope('mmdet')
    hub = MessageHub.get_instance(f'test_{torch.randint(2**31, ()).item()}')
    hub.update_info('seed', 5)
    hub.update_info('iter', 100)
    return hub


@pytest.fixture
def features() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 4 * 2**i, 16 // 2**i, 16 // 2**i, generator=generator) for i in range(2))


def build(**settings) -> FNoiseNeck:
    return MODELS.build(dict(type='FNoiseNeck', **{'neck': FPN, **settings}))


def watch(neck: FNoiseNeck) -> list[tuple[torch.Tensor, ...]]:
    """Collect what goes into the inner neck."""
    seen: list[tuple[torch.Tensor, ...]] = []
    neck.neck.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    return seen


def changed(before, after) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(before, after)]


def test_registered_and_default_noise_is_cct():
    neck = build()
    assert isinstance(neck, FNoiseNeck)
    assert isinstance(neck.noise, FeatureNoise)
    assert repr(neck.noise) == repr(FeatureNoise('cct'))
    assert repr(neck.noise) in repr(neck) and "levels=None, position='pre', check_finite=True" in repr(neck)


def test_same_tensors_in_evaluation_and_at_scale_zero(features):
    noise_in_evaluation = build()
    noise_in_evaluation.noise.eval()
    for neck in (build().eval(), noise_in_evaluation, build(noise=dict(type='FeatureNoise', scale=0))):
        seen = watch(neck)
        neck(features)
        assert all(a is b for a, b in zip(seen[0], features))


def test_outputs_in_evaluation_are_the_plain_neck_s(features):
    neck = build().eval()
    plain = MODELS.build(FPN).eval()
    plain.load_state_dict(neck.state_dict())
    assert not any(changed(plain(features), neck(features)))


def test_every_level_is_perturbed_by_the_formula(features):
    neck = build()
    seen = watch(neck)
    neck(features)
    for level, (x, y) in enumerate(zip(features, seen[0])):
        assert torch.equal(y, neck.noise.perturb(x, (5, 0, 100, 0, level)))
        assert not torch.equal(x, y)


@pytest.mark.parametrize(('levels', 'expected'), [([0], [True, False]), ([-1], [False, True]), ([], [False, False])])
def test_levels(features, levels, expected):
    neck = build(levels=levels)
    seen = watch(neck)
    neck(features)
    assert changed(features, seen[0]) == expected


def test_post_perturbs_the_outputs(features):
    neck = build(position='post', levels=[2])
    seen = watch(neck)
    plain = copy.deepcopy(neck.neck)
    outputs = neck(features)
    assert seen[0] is features
    assert changed(plain(features), outputs) == [False, False, True]


def noise_of(neck, features, hub, iteration):
    hub.update_info('iter', iteration)
    seen = watch(neck)
    neck(features)
    return seen[0]


def test_noise_is_a_function_of_seed_iteration_call_and_level(features, hub):
    neck = build()
    first = noise_of(neck, features, hub, 100)
    assert all(changed(first, noise_of(neck, features, hub, 100))), 'the second call of an iteration'
    assert all(changed(first, noise_of(neck, features, hub, 101))), 'another iteration'
    assert not any(changed(first, noise_of(neck, features, hub, 100))), 'the iteration run again'
    assert not any(changed(first, noise_of(build(), features, hub, 100))), 'another object, as after a resume'
    hub.update_info('seed', 6)
    assert all(changed(first, noise_of(build(), features, hub, 100))), 'another seed'
    same = torch.ones(1, 2, 8, 8)
    assert not torch.equal(*build().preview((same, same))), 'another level'


def test_noises_of_seeds_ranks_iterations_and_levels_are_unrelated(hub, monkeypatch):
    """The correlation of 10,000 draws has a standard deviation of 0.01; 5 of them."""
    ones = torch.ones(1, 4, 50, 50)
    noises = {}
    for seed, rank, iteration in [(5, 0, 100), (6, 0, 100), (5, 1, 100), (5, 0, 101)]:
        monkeypatch.setattr('fnoise_mmdet.models.layers.noise_layer.get_rank', lambda rank=rank: rank)
        hub.update_info('seed', seed)
        hub.update_info('iter', iteration)
        for level, y in enumerate(build().preview((ones, ones))):
            noises[seed, rank, iteration, level] = y.flatten()
    correlation = torch.corrcoef(torch.stack(list(noises.values()))) - torch.eye(8)
    assert correlation.abs().max() < 0.05


def test_global_stream_is_left_alone(features):
    neck = build()
    before = torch.get_rng_state()
    neck(features)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('reentrant', [False, True])
def test_gradient_checkpointing_repeats_the_noise_of_each_call(features, reentrant):
    neck = build()
    seen = watch(neck)
    passes = [tuple((x * factor).requires_grad_() for x in features) for factor in (1, 2, 3)]
    outputs = [checkpoint(lambda *x: neck(x), *x, use_reentrant=reentrant) for x in passes]
    # Backward through the calls in an order of its own.
    for i in (1, 0, 2):
        outputs[i][0].sum().backward()
    first, repeated = seen[:3], seen[3:]
    assert len(repeated) == 3
    for i, again in zip((1, 0, 2), repeated):
        assert not any(changed(first[i], again))


def test_preview_is_what_training_would_do(features):
    neck = build()
    seen = watch(neck)
    neck(features)
    assert not any(changed(seen[0], neck.eval().preview(features)))


@pytest.mark.parametrize('get', [lambda module: module.state_dict(), get_state_dict], ids=['torch', 'mmengine'])
def test_checkpoint_is_the_plain_detector_s(get):
    class Detector(torch.nn.Module):
        def __init__(self, neck):
            super().__init__()
            self.neck = MODELS.build(neck)

    plain, noisy = Detector(FPN), Detector(dict(type='FNoiseNeck', neck=FPN))
    assert list(get(noisy)) == list(get(plain))
    plain.load_state_dict(get(noisy), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), noisy.parameters()))

    other = Detector(FPN)
    noisy.load_state_dict(get(other), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), noisy.parameters()))
    load_state_dict(noisy, get(plain), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), noisy.parameters()))
    with pytest.raises(RuntimeError, match='[Mm]issing'):
        noisy.load_state_dict({}, strict=True)
    with pytest.raises(RuntimeError, match='[Uu]nexpected'):
        noisy.load_state_dict({**get(plain), 'neck.other': torch.ones(1)}, strict=True)


def test_no_parameter_or_buffer_of_its_own():
    neck, plain = build(), MODELS.build(FPN)
    assert len(list(neck.parameters())) == len(list(plain.parameters()))
    assert len(list(neck.buffers())) == len(list(plain.buffers()))


def test_deep_copy_is_independent(features):
    neck = build()
    twin = copy.deepcopy(neck)
    first = [y.clone() for y in twin(features)]
    assert not any(changed(first, neck(features))), 'the same noise and weights'
    for parameter in twin.parameters():
        torch.nn.init.zeros_(parameter)
    assert not any(y.any() for y in twin(features)) and all(y.any() for y in neck(features))


@pytest.mark.parametrize('kind', [cls.__name__ for cls in NOISES])
def test_every_noise_is_registered(features, kind):
    neck = build(noise=dict(type=kind, prob=1.0))
    assert type(neck.noise).__name__ == kind
    assert neck(features)[0].isfinite().all()


def test_a_noise_of_one_s_own(features):
    @MODELS.register_module(force=True)
    class Halve(Noise):
        def sample(self, x, generator):
            return None

        def apply_sample(self, x, sample):
            return x / 2

    seen = watch(neck := build(noise=dict(type='Halve')))
    neck(features)
    assert all(torch.equal(y, x / 2) for x, y in zip(features, seen[0]))


def test_without_an_inner_neck(features):
    neck = FNoiseNeck(None)
    assert not neck.state_dict()
    assert neck.eval()(features) is features
    assert changed(features, neck.train()(features)) == [True, True]
    assert isinstance(neck(list(features)), list) and isinstance(neck(features), tuple)


def test_a_single_tensor_is_a_single_level(features):
    neck = FNoiseNeck(None)
    assert neck.eval()(features[0]) is features[0]
    assert torch.equal(neck.train()(features[0]), neck.preview([features[0]])[0])


def test_a_list_of_necks(features):
    necks = [FPN, dict(type='BFP', in_channels=4, num_levels=3, refine_level=1)]
    plain, noisy = MODELS.build(necks), MODELS.build(dict(type='FNoiseNeck', neck=necks))
    assert list(noisy.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(noisy.state_dict(), strict=True)
    noisy.load_state_dict(plain.state_dict(), strict=True)
    assert not any(changed(plain.eval()(features), noisy.eval()(features)))
    assert all(changed(plain.train()(features), noisy.train()(features)))


def test_a_teacher_gets_no_noise(features):
    neck = build()
    seen = watch(neck)
    for parameter in neck.parameters():
        parameter.requires_grad = False
    neck(features)
    with torch.no_grad():
        neck(features)
    # Frozen, but trained through: noise. Frozen and without gradients: none.
    assert all(changed(features, seen[0])) and seen[1] is features


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_nan_and_inf_are_named_by_level(features, value, dtype):
    features = [x.to(dtype) for x in features]
    features[1][0, 0, 0, :3] = value
    what = 'NaN' if value != value else 'Inf'
    message = rf'inputs of the neck are not finite in iteration 100: level 1 of shape \(2, 8, 8, 8\) has {what}$'
    with pytest.raises(FloatingPointError, match=message):
        FNoiseNeck(None)(features)
    FNoiseNeck(None, check_finite=False)(features)
    FNoiseNeck(None, levels=[0])(features)
    FNoiseNeck(None).eval()(features)
    FNoiseNeck(None, noise=dict(type='FeatureNoise', scale=0))(features)


@pytest.mark.gpu
def test_on_a_gpu_nothing_waits_for_the_check_but_the_gradients(features):
    features = [x.cuda().requires_grad_() for x in features]
    neck = build().cuda()
    neck(features)  # compiles
    torch.cuda.set_sync_debug_mode('error')
    try:
        outputs = neck(features)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    sum(y.sum() for y in outputs).backward()
    with torch.no_grad():
        features[1][0, 0, 0, 0] = float('nan')
    outputs, message = neck(features), 'level 1 of .* has NaN'
    with pytest.raises(FloatingPointError, match=message):
        sum(y.sum() for y in outputs).backward()
    neck(features)
    with pytest.raises(FloatingPointError, match=message):  # no backward pass came
        neck(features)
    neck(features)
    with pytest.raises(FloatingPointError, match=message):
        neck.finish_check()
    neck.finish_check()
    with torch.no_grad(), pytest.raises(FloatingPointError, match=message):
        neck(features)


def test_large_finite_features_pass():
    FNoiseNeck(None)([torch.full((1, 2, 4, 4), 3e38)])


@pytest.mark.parametrize(
    ('features', 'error', 'message'),
    [
        ([torch.ones(1, 4, 4, 4)], ValueError, 'FPN is made for 2 levels, but got 1'),
        ([torch.ones(1, 4, 4, 4)] * 3, ValueError, 'FPN is made for 2 levels, but got 3'),
        ([torch.ones(1, 4, 4, 4), torch.ones(1, 8, 0, 4)], ValueError, r'level 1 must have .* has \(1, 8, 0, 4\)'),
        ([torch.ones(1, 4, 4, 4), torch.ones(1, 8, 2, 2).int()], TypeError, 'level 1 must be .* of torch.int32'),
        ([torch.ones(1, 4, 4, 4), None], TypeError, 'level 1 must be .* of type NoneType'),
    ],
)
def test_wrong_features_are_refused(features, error, message):
    with pytest.raises(error, match=message):
        build()(features)


def test_inputs_before_levels_are_unchanged(features):
    """As mmdet's RFP, which takes the image too."""

    class Last(torch.nn.Module):
        in_channels = (4, 8)

        def forward(self, inputs):
            return inputs

    neck = build(levels=[0])
    neck.neck = Last()
    image = torch.ones(2, 3, 64, 64)
    outputs = neck((image, *features))
    assert outputs[0] is image and changed(features, outputs[1:]) == [True, False]
    assert torch.equal(outputs[1], neck.preview(features)[0]), 'the noise of level 0'


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_autocast_and_memory_format(features, memory_format):
    features = [x.to(memory_format=memory_format).requires_grad_() for x in features]
    neck = build()
    seen = watch(neck)
    with torch.autocast('cpu', torch.bfloat16):
        outputs = neck(features)
    assert outputs[0].dtype == torch.bfloat16
    assert all(x.is_contiguous(memory_format=memory_format) for x in seen[0])
    sum(y.float().sum() for y in outputs).backward()
    assert all(x.grad.isfinite().all() for x in features)


def test_compiles(features):
    torch._dynamo.reset()
    neck = build()
    compiled = torch.compile(neck, backend='aot_eager')
    for iteration in (1, 2):  # more than one, because the iteration must not be built into the graph
        MessageHub.get_current_instance().update_info('iter', iteration)
        expected = copy.deepcopy(neck)(features)
        torch.testing.assert_close(compiled(features), expected)
    neck.eval()
    evaluate = torch.compile(neck, backend='aot_eager', fullgraph=True)
    torch.testing.assert_close(evaluate(features), neck.neck(features))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(levels=[1, 1]), r'levels must name each level once, but got \[1, 1\]'),
        (dict(levels=[1, -1]), r'levels must name each of 2 levels once, but got \[1, -1\]'),
        (dict(neck=dict(type='FNoiseNeck', neck=FPN)), 'neck must be one without noise, but got'),
        (dict(neck=[FPN, dict(type='FNoiseNeck', neck=None)]), 'neck must be one without noise, but got'),
        (dict(levels=[2]), r'levels must be in \[-2, 1\] for 2 levels, but got 2'),
        (dict(levels=[-3]), r'levels must be in \[-2, 1\] for 2 levels, but got -3'),
        (dict(levels=[3], position='post'), r'levels must be in \[-3, 2\] for 3 levels, but got 3'),
        (dict(position='middle'), r"position must be one of \('pre', 'post'\), but got 'middle'"),
        (dict(noise=dict(type='FeatureNoise', scale=-1)), r'scale must be >= 0 and finite, but got -1'),
    ],
)
def test_wrong_settings_are_refused_when_built(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(levels=1), 'levels must be a list of integers, but got 1'),
        (dict(levels=['C5']), r"levels must be a list of integers, but got \['C5'\]"),
        (dict(noise=dict(type='SiLU')), r"noise must be one of \['FeatureNoise', .* or a Noise of your own, but got"),
    ],
)
def test_wrong_types_are_refused_when_built(settings, message):
    with pytest.raises(TypeError, match=message):
        build(**settings)


def test_find_noise_layers():
    model = torch.nn.ModuleDict(dict(student=build(), teacher=build(), other=MODELS.build(FPN)))
    assert find_noise_layers(model) == [model['student'], model['teacher']]


def test_taps_take_a_level_that_stands_alone(features):
    neck = FNoiseNeck(None, position='post')
    tap = Tap(neck)
    neck(features[0])
    tap.detach()
    assert tap.clean[0] is features[0] and torch.equal(tap.perturbed[0], neck.preview(features[:1])[0])
