import copy

import numpy as np
import pytest
import torch
from compatibility import read_shipped
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from fnoise_mmdet import FNoiseTeacher
from fnoise_mmdet.config import load_config
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.models.detectors.pseudo_masks import bitmap_masks
from fnoise_mmdet.models.layers import find_noise_layers
from fnoise_mmdet.visualization.tap import FeatureTap

RAMP_UP = dict(schedule='linear', end=50)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')
    torch.set_num_threads(1)


@pytest.fixture
def detector(root):
    """The demo's Mask R-CNN with F-Noise."""
    return Config.fromfile(root / 'configs/demo_fnoise.py').model


def build(detector, **settings) -> FNoiseTeacher:
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=detector.data_preprocessor)
    model = MODELS.build(
        dict(type='FNoiseTeacher', detector=detector, data_preprocessor=preprocessor, semi_train_cfg=settings)
    )
    torch.manual_seed(0)
    model.student.init_weights()
    model.teacher.load_state_dict(model.student.state_dict())
    return model.train()


def stream(seed=0, homography=None, size=64):
    """Images of a stream with boxes and masks as labels."""
    np.random.seed(seed)
    batch = demo_mm_inputs(2, [[3, size, size]] * 2, num_classes=5, with_mask=True)
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(homography_matrix=np.eye(3) if homography is None else homography))
    return batch


def data(model, **streams):
    """Streams as they come from the data preprocessor."""
    found = {name: model.student.data_preprocessor(batch, True) for name, batch in streams.items()}
    inputs, samples = ({name: one[key] for name, one in found.items()} for key in ('inputs', 'data_samples'))
    return inputs, samples


def loss(model, inputs, samples):
    torch.manual_seed(1)
    np.random.seed(1)
    return model.loss(inputs, copy.deepcopy(samples))


def test_losses_of_each_stream_have_gradients(detector):
    model = build(detector, cls_pseudo_thr=0.0)
    batch = data(model, sup=stream(), unsup_teacher=stream(1), unsup_student=stream(1))
    losses = loss(model, *batch)
    assert losses['pseudo_labels'] > 1 and losses['labelled_share'] == 1
    for prefix in ('sup_', 'feature_', 'unsup_'):
        assert f'{prefix}loss_mask' in losses
        model.zero_grad()
        total, _ = model.parse_losses({name: value for name, value in losses.items() if name.startswith(prefix)})
        total.backward(retain_graph=True)
        for part in ('backbone', 'roi_head.mask_head'):
            grads = [weight.grad for weight in model.student.get_submodule(part).parameters()]
            assert any(grad is not None and grad.abs().sum() > 0 for grad in grads), (prefix, part)
    assert all(weight.grad is None for weight in model.teacher.parameters())


def test_without_the_unlabelled_streams_it_is_the_supervised_training(detector):
    model = build(detector, feature_weight=0.0, unsup_weight=0.0, noise_on=['sup'])
    inputs, samples = data(model, sup=stream(), unsup_teacher=stream(1))
    losses = loss(model, inputs, samples)
    detector = build(detector).student  # whose noise is that of its first call, too
    torch.manual_seed(1)
    np.random.seed(1)
    expected = detector.loss(inputs['sup'], copy.deepcopy(samples['sup']))
    assert losses.keys() == {f'sup_{name}' for name in expected}
    for name, value in expected.items():
        same = zip(value, losses[f'sup_{name}']) if isinstance(value, list) else [(value, losses[f'sup_{name}'])]
        assert all(torch.equal(a, b) for a, b in same), name


def test_antithetic_views_have_opposite_noise(detector, monkeypatch):
    model = build(detector, cls_pseudo_thr=0.0, views=4, antithetic=True)
    (neck, *_) = find_noise_layers(model.student)
    seen = []
    inner = neck.neck.forward
    monkeypatch.setattr(neck.neck, 'forward', lambda levels: seen.append([x.detach() for x in levels]) or inner(levels))
    inputs, samples = data(model, sup=stream(), unsup_teacher=stream(1))
    loss(model, inputs, samples)
    with torch.no_grad():
        clean = model.student.backbone(inputs['unsup_teacher'])
    views = seen[1:]  # after the labelled images
    assert len(views) == 4
    for level, x in enumerate(clean):
        one, opposite, other, opposite_of_other = ((view[level] - x) for view in views)
        assert one.abs().sum() > 0 and not torch.equal(one, other)
        torch.testing.assert_close(one, -opposite)
        torch.testing.assert_close(other, -opposite_of_other)


def test_noise_inside_the_backbone(root):
    """Only the student has it, only on images without labels, and every second view has the opposite noise."""
    plain = Config.fromfile(root / 'configs/demo_baseline.py').model
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=plain.data_preprocessor)
    noisy = dict(type='FNoiseDetector', detector=plain, place='stage', levels=[0])
    settings = dict(cls_pseudo_thr=0.0, views=2, antithetic=True)
    model = MODELS.build(
        dict(type='FNoiseTeacher', detector=noisy, data_preprocessor=preprocessor, semi_train_cfg=settings)
    )
    model.student.init_weights()
    model.teacher.load_state_dict(model.student.state_dict())
    model.train()
    seen = {'student': [], 'teacher': []}  # of level 0
    for passes, layer in zip(seen.values(), find_noise_layers(model)):
        layer.watchers.append(lambda level, x, y, passes=passes: level or passes.append((x, y)))
    loss(model, *data(model, sup=stream(), unsup_teacher=stream(1)))
    ((x, y),) = seen['teacher']
    assert x is y
    labelled, (x, one), (same, opposite) = seen['student']
    assert torch.equal(*labelled)
    assert torch.equal(x, same) and not torch.equal(x, one)
    torch.testing.assert_close(one - x, x - opposite)


def test_complementary_dropout(root):
    """Each channel of an image is in one of the two views, doubled."""
    torch.set_num_threads(1)
    cfg = Config.fromfile(root / 'configs/semi/demo_semi_complementary_dropout.py').model
    cfg.semi_train_cfg.cls_pseudo_thr = 0.0
    model = MODELS.build(cfg)
    model.student.init_weights()
    model.teacher.load_state_dict(model.student.state_dict())
    model.train()
    seen = []
    model.student.neck.neck.register_forward_pre_hook(lambda neck, args: seen.append([x.detach() for x in args[0]]))
    loss(model, *data(model, sup=stream(), unsup_teacher=stream(1)))
    _, one, other = seen  # the first pass is that of labelled images
    for a, b in zip(one, other):
        dropped, dropped_too = ((view == 0).flatten(2).all(dim=2) for view in (a, b))
        used = ~(dropped & dropped_too)
        assert used.any() and torch.equal(dropped[used], ~dropped_too[used])


@pytest.mark.parametrize('targets', ['hard', 'soft'])
def test_adversarial_direction_raises_the_loss(detector, targets, monkeypatch):
    """More than a random one of the same power, and the search leaves no trace."""
    detector.neck.noise = dict(type='AdversarialNoise')
    model = build(detector, cls_pseudo_thr=0.0, targets=targets)
    batch = data(model, sup=stream(), unsup_teacher=stream(1))
    buffers = copy.deepcopy(dict(model.student.named_buffers()))
    search = model._search_directions

    def traced(run):
        before = torch.get_rng_state(), copy.deepcopy(dict(model.student.named_buffers()))
        search(run)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert all(torch.equal(value, before[1][name]) for name, value in model.student.named_buffers())
        assert not any(parameter.grad is not None for parameter in model.parameters())

    def total():
        model.student.load_state_dict(buffers, strict=False)
        torch.manual_seed(1)
        losses = loss(model, *copy.deepcopy(batch))
        losses, _ = model.parse_losses({name: value for name, value in losses.items() if name.startswith('feature_')})
        return float(losses)

    monkeypatch.setattr(model, '_search_directions', traced)
    adversarial = total()
    monkeypatch.setattr(model, '_search_directions', lambda run: None)
    assert adversarial > total()


def test_losses_of_views_are_averaged(detector, monkeypatch):
    model = build(detector, cls_pseudo_thr=0.0, views=2, feature_weight=3.0)
    found = []
    student_loss = model.student.loss
    monkeypatch.setattr(
        model.student, 'loss', lambda *batch: found.append(student_loss(*batch)) or copy.copy(found[-1])
    )
    losses = loss(model, *data(model, sup=stream(), unsup_teacher=stream(1)))
    _, first, second = found
    assert sum(first['loss_rpn_cls']) != sum(second['loss_rpn_cls']), 'each view has noise of its own'
    for name in first:
        one, other, mean = (
            sum(value) if isinstance(value, list) else value
            for value in (first[name], second[name], losses[f'feature_{name}'])
        )
        factor = 1.5 if 'loss' in name else 0.5
        torch.testing.assert_close(mean, factor * (one + other))


def test_without_a_pseudo_label_the_weight_is_zero(detector):
    model = build(detector, cls_pseudo_thr=1.0)
    losses = loss(model, *data(model, sup=stream(), unsup_teacher=stream(1)))
    assert losses['pseudo_labels'] == 0 and losses['labelled_share'] == 0
    total, _ = model.parse_losses({name: value for name, value in losses.items() if name.startswith('feature_')})
    assert total == 0


@pytest.mark.parametrize('family', ['mask_rcnn', 'retinanet'])
def test_labels_are_the_detections_above_the_threshold(detector, family, root):
    if family == 'retinanet':
        detector = load_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py').model
        detector.backbone.init_cfg = None
        detector.bbox_head.num_classes = 5
    model = build(detector)
    torch.manual_seed(2)  # without it all scores are alike
    for name, weight in model.teacher.named_parameters():
        if 'fc_cls' in name or 'retina_cls' in name:
            torch.nn.init.normal_(weight, std=0.5)
    inputs, samples = (one['unsup_teacher'] for one in data(model, unsup_teacher=stream(1)))
    model.teacher.eval()
    with torch.no_grad():
        detected = [one.pred_instances for one in model.teacher.predict(inputs, copy.deepcopy(samples), rescale=False)]
    scores = torch.cat([one.scores for one in detected]).sort().values
    model.semi_train_cfg.cls_pseudo_thr = threshold = float(scores[len(scores) // 2])
    for sample, found, labelled in zip(samples, detected, model._label(inputs, samples)):
        expected = found[found.scores > threshold]
        assert torch.equal(labelled.gt_instances.bboxes, expected.bboxes) and len(expected) > 0
        assert torch.equal(labelled.gt_instances.scores, expected.scores)
        if family == 'mask_rcnn':
            masks = bitmap_masks(expected.masks, sample.img_shape)
            assert (labelled.gt_instances.masks.masks == masks.masks).all()
    again = model.teacher.predict(inputs, copy.deepcopy(samples), rescale=False)
    assert [len(one.pred_instances) for one in again] == [len(one) for one in detected], 'the threshold is as before'


def test_masks_fit_the_view_wherever_it_was_cut_from(detector):
    """Steps such as Expand and MinIoURandomCrop change the size without changing ori_shape."""
    model = build(detector, cls_pseudo_thr=0.0)
    inputs, samples = (one['unsup_teacher'] for one in data(model, unsup_teacher=stream(1)))
    model.teacher.eval()
    expected = model._label(inputs, samples)
    for sample in samples:
        sample.set_metainfo(dict(ori_shape=(300, 200), scale_factor=(0.7, 1.9)))
    for found, one, sample in zip(model._label(inputs, samples), expected, samples):
        assert len(found.gt_instances) > 0
        assert (found.gt_instances.masks.masks == one.gt_instances.masks.masks).all()
        assert found.ori_shape == sample.ori_shape == (300, 200)


def test_boxes_of_a_detector_of_masks_alone_are_those_of_its_masks(detector, monkeypatch):
    """mmdet's SOLO returns boxes of zeros."""
    model = build(detector, cls_pseudo_thr=0.0, feature_weight=1.0)
    inputs, samples = (one['unsup_teacher'] for one in data(model, unsup_teacher=stream(1)))
    masks = torch.zeros(1, *samples[0].img_shape[:2], dtype=torch.bool)
    masks[0, 10:30, 5:45] = True

    def predict(inputs, samples, rescale):
        for sample in samples:
            sample.pred_instances = InstanceData(
                bboxes=torch.zeros(1, 4), labels=torch.zeros(1, dtype=torch.long), scores=torch.ones(1), masks=masks
            )
        return samples

    monkeypatch.setattr(model.teacher, 'predict', predict)
    for sample in model._label(inputs, samples):
        assert sample.gt_instances.bboxes.tolist() == [[5, 10, 45, 30]]


def test_soft_targets_need_no_pseudo_label(detector):
    model = build(detector, targets='soft', proposals=10, cls_pseudo_thr=1.0, feature_weight=2.0)
    model.student.load_state_dict(build(detector).student.state_dict())
    losses = loss(model, *data(model, sup=stream(), unsup_teacher=stream(1)))
    assert {name for name in losses if name.startswith('feature_')} == {
        'feature_loss_cls', 'feature_loss_bbox', 'feature_loss_mask'
    }  # fmt: skip
    assert 'pseudo_labels' not in losses and losses['feature_loss_cls'] > 0
    total, _ = model.parse_losses({name: value for name, value in losses.items() if name.startswith('feature_')})
    total.backward()
    assert model.student.backbone.conv1.weight.grad.abs().sum() > 0


def test_without_noise_soft_targets_are_met(detector):
    """The teacher has the student's weights, and no layer differs in training mode."""
    detector.neck.noise.scale = 0
    detector.backbone.norm_eval = True
    model = build(detector, targets='soft')
    losses = loss(model, *data(model, sup=stream(), unsup_teacher=stream(1)))
    assert all(value.detach() < 1e-10 for name, value in losses.items() if name.startswith('feature_loss'))


@pytest.mark.parametrize('iteration', [0, 25, 100])
def test_ramp_up_weights_the_unlabelled_streams(detector, iteration, monkeypatch):
    info = MessageHub.get_current_instance().runtime_info
    monkeypatch.setitem(info, 'iter', iteration)
    batch = dict(sup=stream(), unsup_teacher=stream(1), unsup_student=stream(1))
    constant, ramped = (
        loss(model, *data(model, **batch))
        for model in (build(detector, cls_pseudo_thr=0.0, ramp_up=ramp_up) for ramp_up in (None, RAMP_UP))
    )
    factor = min(1.0, iteration / 50)
    for name in ('sup_loss_mask', 'feature_loss_mask', 'unsup_loss_mask'):
        expected = constant[name] * (1 if name.startswith('sup') else factor)
        assert constant[name] > 0
        torch.testing.assert_close(ramped[name], expected)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(targets='both'), "targets must be one of hard, soft, but got 'both'"),
        (dict(proposals=0), 'proposals must be >= 1'),
        (
            dict(ramp_up=dict(schedule='exponential')),
            'ramp_up must be None or such as dict.* but got .*: schedule must',
        ),
        (dict(ramp_up=dict(end=5)), 'ramp_up must be None or such as dict'),
        (dict(ramp_up=dict(schedule='linear', until=5)), "unexpected keyword argument 'until'"),
        (dict(ramp_up=dict(schedule='linear')), "end must be given for 'linear'"),
        (dict(ramp_up=dict(schedule='linear', begin=100, end=50)), 'end >= begin, but got begin=100 and end=50'),
        (dict(ramp_up=dict(schedule='step')), "milestones must be given for 'step'"),
        (dict(ramp_up=dict(schedule='linear', end=5, start_factor=-1)), r'start_factor must be in \[0, 1\]'),
        (dict(ramp_up=dict(schedule='linear', end=5, end_factor=5)), r'end_factor must be in \[0, 1\], but got 5'),
        (dict(sup_weight=-1), 'sup_weight must be >= 0 and finite, but got -1'),
        (dict(feature_weight='1'), "feature_weight must be >= 0 and finite, but got '1'"),
        (dict(unsup_weight=-0.5), 'unsup_weight must be >= 0'),
        (dict(cls_pseudo_thr=1.5), r'cls_pseudo_thr must be in \[0, 1\], but got 1.5'),
        (dict(cls_pseudo_thresh=0.5), 'no setting cls_pseudo_thresh, but sup_weight'),
        (dict(noise_on=['teacher']), "noise_on must be streams of sup, .* but got 'teacher'"),
        (dict(views=3, antithetic=True), 'views must be >= 1, and even if antithetic, but got 3'),
        (dict(views=0), 'views must be >= 1'),
        (dict(views=2.0), 'views must be a whole number, but got 2.0'),
        (dict(proposals=1.5), 'proposals must be a whole number, but got 1.5'),
    ],
)
def test_wrong_settings_are_named(detector, settings, message):
    with pytest.raises(ValueError, match=message):
        build(detector, **settings)


def test_without_noise_it_is_a_mean_teacher(detector):
    """The losses of the view without noise are those of a scale of 0."""
    off, plain = copy.deepcopy(detector), copy.deepcopy(detector)
    off.neck.noise.scale = 0
    plain.neck = plain.neck.neck
    batch = dict(sup=stream(), unsup_teacher=stream(1))
    found = [
        loss(model, *data(model, **batch))
        for model in (build(off, cls_pseudo_thr=0.0), build(plain, cls_pseudo_thr=0.0))
    ]
    totals = [model_losses['feature_loss_mask'] for model_losses in found]
    assert totals[0] > 0 and torch.equal(*totals)


def test_noise_that_has_no_opposite_is_named(detector):
    detector.neck.noise = dict(type='DSU')
    with pytest.raises(ValueError, match='antithetic needs FeatureNoise without bias or ChannelDropout'):
        build(detector, views=2, antithetic=True)


def test_adversarial_noise_before_gradient_checkpointing_is_refused(root):
    plain = Config.fromfile(root / 'configs/demo_baseline.py').model
    plain.backbone.with_cp = True
    noise = dict(type='AdversarialNoise')
    stages = dict(type='FNoiseDetector', detector=plain, place='stage', levels=[0], noise=noise)
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=plain.data_preprocessor)
    teacher = dict(type='FNoiseTeacher', data_preprocessor=preprocessor)
    with pytest.raises(InputError, match='AdversarialNoise inside the backbone .* with_cp=False'):
        MODELS.build(dict(teacher, detector=stages))
    MODELS.build(dict(teacher, detector=dict(plain, neck=dict(type='FNoiseNeck', neck=plain.neck, noise=noise))))


@pytest.mark.parametrize(('place', 'is_refused'), [('backbone.layer1.0.conv1', True), ('backbone.layer1', False)])
def test_noise_within_gradient_checkpointing_is_refused(root, place, is_refused):
    """Its backward pass computes the labelled stream again, after the noise was turned on for the other one."""
    plain = Config.fromfile(root / 'configs/demo_baseline.py').model
    plain.backbone.with_cp = True
    detector = dict(type='FNoiseDetector', detector=plain, place=place)
    preprocessor = dict(type='MultiBranchDataPreprocessor', data_preprocessor=plain.data_preprocessor)
    teacher = dict(type='FNoiseTeacher', data_preprocessor=preprocessor, detector=detector)
    if not is_refused:
        MODELS.build(teacher)
        return
    with pytest.raises(InputError, match=f'noise at {place} is inside a block .* with_cp=False'):
        MODELS.build(teacher)


def test_hard_targets_of_point_rend_are_refused():
    detector = read_shipped('point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py').model
    with pytest.raises(InputError, match='PointRend fails for a batch without pseudo-labels: set targets=soft'):
        build(detector)
    build(detector, targets='soft')


def test_processes_label_with_the_same_statistics(detector, monkeypatch):
    model = build(detector, cls_pseudo_thr=0.0)
    sent = []
    monkeypatch.setattr('fnoise_mmdet.models.detectors.fnoise_teacher.broadcast', sent.append)
    loss(model, *data(model, sup=stream(), unsup_teacher=stream(1)))
    assert [id(buffer) for buffer in sent] == [id(buffer) for buffer in model.teacher.buffers()]


@pytest.mark.parametrize('noise_on', [(), ('unsup_feature',), ('sup', 'unsup_student')])
def test_noise_is_on_the_named_streams_alone(detector, noise_on, monkeypatch):
    model = build(detector, cls_pseudo_thr=0.0, noise_on=noise_on)
    (neck, *_) = find_noise_layers(model.student)
    seen = []
    perturb = neck._perturb
    monkeypatch.setattr(neck, '_perturb', lambda features: seen.append(stream_now[0]) or perturb(features))
    stream_now = ['']
    noise_for = model._noise_for

    def traced(name):
        stream_now[0] = name
        return noise_for(name)

    monkeypatch.setattr(model, '_noise_for', traced)
    loss(model, *data(model, sup=stream(), unsup_teacher=stream(1), unsup_student=stream(1)))
    assert seen == [name for name in ('sup', 'unsup_feature', 'unsup_student') if name in noise_on]
    assert neck.noise.training, 'as before, e.g. for a hook'


@pytest.mark.parametrize(
    ('settings', 'branch'),
    [
        (dict(), 'unsup_teacher'),
        (dict(noise_on=['unsup_student']), 'unsup_student'),
        (dict(noise_on=['unsup_feature', 'sup']), 'sup'),
        (dict(noise_on=[]), 'sup'),
        (dict(feature_weight=0.0), 'sup'),
    ],
)
def test_features_are_captured_where_the_noise_is(detector, settings, branch):
    model = build(detector, cls_pseudo_thr=0.0, **settings)
    batch = dict(sup=stream(), unsup_teacher=stream(1), unsup_student=stream(2))
    raw = {
        key: {name: list(one[key]) for name, one in batch.items()} for key in ('inputs', 'data_samples')
    }  # as the data loader gives them
    inputs, samples = data(model, **batch)
    assert model.noisy_branch == branch
    tap = FeatureTap(model)
    loss(model, inputs, samples)
    tap.detach()
    features = tap.take(raw)
    with torch.no_grad():
        expected = model.student.backbone(inputs[branch])
    assert features.site.name == 'student'
    for clean, perturbed, level in zip(features.clean, features.perturbed, expected):
        torch.testing.assert_close(clean, level)
        assert torch.equal(clean, perturbed) == (not settings.get('noise_on', [1]) or 'feature_weight' in settings)
