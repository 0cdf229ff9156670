import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from compatibility import read_shipped
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.testing import demo_mm_inputs
from mmengine.registry import init_default_scope
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.structures import InstanceData
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from fnoise_mmdet import FeatureMapHook, add_fnoise

ALL = [0, 1, 2, 3]
EVERY_2 = dict(type='FeatureMapHook', interval=2, images=1, levels=ALL, arrays=True)


def pictures(runner: Runner) -> list[str]:
    folder = Path(runner.log_dir) / 'vis_data' / 'vis_image'
    return sorted(path.name for path in folder.glob('*.png'))


def arrays(runner: Runner, name: str) -> dict[str, np.ndarray]:
    with np.load(Path(runner.log_dir) / 'vis_data' / f'{name}.npz') as content:
        return dict(content)


def test_pictures_in_training_validation_and_test(train, shapes):
    runner = train('demo_fnoise.py', custom_hooks=[EVERY_2], **{'val_dataloader.batch_size': 3})
    assert pictures(runner) == ['feature_maps_train_2.png', 'feature_maps_train_4.png', 'feature_maps_val_1_1.png']
    events = EventAccumulator(f'{runner.log_dir}/vis_data').Reload()
    assert {'feature_maps_train', 'feature_maps_val_1'} <= set(events.Tags()['images'])

    trained = arrays(runner, 'feature_maps_train_2')
    assert trained['image'].dtype == np.uint8 and trained['image'].shape == (128, 128, 3)
    for level, (channels, size) in enumerate([(32, 32), (64, 16), (128, 8), (256, 4)]):
        clean, perturbed = trained[f'clean_{level}'], trained[f'perturbed_{level}']
        assert clean.shape == perturbed.shape == (channels, size, size)
        # Uniform noise of up to 0.3 of each element: what that very pass has seen.
        alive = clean > 0
        ratio = perturbed[alive] / clean[alive] - 1
        assert 0.15 < ratio.std() < 0.2 and np.abs(ratio).max() < 0.3 + 1e-4
        np.testing.assert_array_equal(perturbed[~alive], 0)

    # In validation the noise is shown, not applied.
    shown = arrays(runner, 'feature_maps_val_1_1')
    assert not np.array_equal(shown['clean_0'], shown['perturbed_0'])
    file = shapes / 'val/000001.png'
    np.testing.assert_array_equal(
        shown['image'], cv2.resize(cv2.imread(str(file)), (128, 128), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    )


def test_a_picture_shows_what_the_model_computed(train):
    """The clean features of the panel are the backbone's, to the last bit."""
    runner = train('demo_fnoise.py', custom_hooks=[dict(EVERY_2, interval=99)])
    dataset = runner.val_dataloader.dataset
    model = runner.model.eval()
    batch = runner.val_dataloader.collate_fn([dataset[0]])
    with torch.no_grad():
        features = model.backbone(model.data_preprocessor(batch)['inputs'])
    shown = arrays(runner, 'feature_maps_val_1_1')
    for level, feature in enumerate(features):
        np.testing.assert_allclose(shown[f'clean_{level}'], feature[0].numpy(), rtol=1e-4, atol=1e-5)


def test_without_noise_only_clean_maps_are_drawn(train):
    runner = train('demo_baseline.py', custom_hooks=[EVERY_2])
    assert len(pictures(runner)) == 3
    assert not [name for name in arrays(runner, 'feature_maps_train_2') if name.startswith('perturbed')]


def test_chosen_images(train):
    hook = dict(type='FeatureMapHook', interval=99, images=[3, '000002.png'])
    runner = train('demo_fnoise.py', custom_hooks=[hook])
    # Of the training, which is shorter than the interval, the last image is drawn.
    assert pictures(runner) == ['feature_maps_train_4.png', 'feature_maps_val_2_1.png', 'feature_maps_val_3_1.png']


def test_pictures_change_nothing(train, read_rows):
    """Losses with a picture at every iteration are those without, and nothing stays attached."""
    losses = []
    for name, hooks in (('with', [dict(type='FeatureMapHook', interval=1)]), ('without', [])):
        runner = train('demo_fnoise.py', name, custom_hooks=hooks)
        losses.append([row['loss'] for row in read_rows(runner) if 'loss' in row])
        hooked = [m for m in runner.model.modules() if m._forward_pre_hooks or m._forward_hooks]
        assert not hooked
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_channels_are_those_of_the_first_weights_and_kept(train):
    """With and without F-Noise, and after a resume."""
    hook = dict(type='FeatureMapHook', interval=99, images=0)
    runners = [
        train(f'demo_{name}.py', name, custom_hooks=[hook], **{'default_hooks.checkpoint.interval': 1})
        for name in ('baseline', 'fnoise')
    ]
    one, other = (runner.message_hub.get_info('feature_map_channels') for runner in runners)
    assert one == other and {level: len(channels) for level, channels in one.items()} == dict.fromkeys(range(3), 9)
    saved = torch.load(Path(runners[0].work_dir) / 'epoch_1.pth', weights_only=False)
    assert saved['message_hub']['runtime_info']['feature_map_channels'] == one
    resumed = FeatureMapHook()
    resumed._model = runners[1].model
    runners[1].message_hub.update_info('feature_map_channels', {0: [5]})
    resumed.before_train(runners[1])
    assert resumed._channels == {0: [5]}
    of_all = FeatureMapHook(reduction='pca')
    of_all._model = runners[1].model
    of_all.before_train(runners[1])
    assert of_all._channels == {}


def test_post_noise_is_shown_on_the_outputs(train):
    hook = dict(EVERY_2, levels=[-1])
    runner = train('demo_fnoise.py', custom_hooks=[hook], **{'model.neck.position': 'post'})
    shown = arrays(runner, 'feature_maps_train_2')
    assert shown['clean_4'].shape == shown['perturbed_4'].shape == (64, 2, 2)
    assert not np.array_equal(shown['clean_4'], shown['perturbed_4'])


def test_settings_and_a_sequence_over_a_training_that_is_resumed(train, tmp_path):
    """Two epochs, of which the second is resumed: the animation has a frame for each."""
    hook = dict(type='FeatureMapHook', interval=3, images=1, source='neck', levels=[-1, 0], reduction='top_k', top_k=4)
    hook |= dict(max_size=700, arrays=True)
    options = {'default_hooks.checkpoint.interval': 1}
    first = train('demo_fnoise.py', custom_hooks=[hook], **options)
    assert pictures(first) == ['feature_maps_train_3.png', 'feature_maps_val_1_1.png']
    shown = arrays(first, 'feature_maps_val_1_1')
    assert sorted(shown) == ['clean_0', 'clean_4', 'image', 'perturbed_0', 'perturbed_4']
    assert shown['clean_4'].shape == (64, 2, 2)  # the outputs of the neck
    picture = cv2.imread(f'{first.log_dir}/vis_data/vis_image/feature_maps_val_1_1.png')
    assert 690 <= max(picture.shape) <= 700

    gif = 'vis_data/feature_maps_val_1.gif'
    assert not (Path(first.log_dir) / gif).exists()  # a frame is no sequence
    time.sleep(1.1)  # folders of starts are named by the second
    second = train(
        'demo_fnoise.py', custom_hooks=[hook], resume=True,
        **options, **{'train_cfg.max_epochs': 2, 'visualizer.name': f'{tmp_path}_second'},
    )  # fmt: skip
    assert second.log_dir != first.log_dir
    assert pictures(second) == ['feature_maps_train_6.png', 'feature_maps_val_1_2.png']
    with Image.open(Path(second.log_dir) / gif) as animation:
        assert animation.n_frames == 2 and max(animation.size) == max(picture.shape)


class Stub:
    """As much of a runner as the hook asks for."""

    def __init__(self, model, folder):
        self.model, self.work_dir, self.log_dir, self.iter = model, str(folder), str(folder / 'start'), 0
        self.max_iters = 100
        self.warnings, self.drawn = [], []
        self.logger = SimpleNamespace(warning=self.warnings.append)
        self.visualizer = SimpleNamespace(
            dataset_meta=None, add_image=lambda name, image, step: self.drawn.append((name, step))
        )
        self.message_hub = SimpleNamespace(get_info=lambda name, default: 4)
        self._train_loop = None
        self.val_dataloader = SimpleNamespace(dataset=SimpleNamespace())


def attached(model):
    return [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks]


def run(model):
    with torch.no_grad():
        model.extract_feat(torch.rand(2, 3, 64, 64))


@pytest.fixture
def detector():
    init_default_scope('mmdet')
    torch.set_num_threads(1)
    model = MODELS.build(add_fnoise(read_shipped('retinanet/retinanet_r18_fpn_1x_coco.py')).model)
    model.init_weights()
    return model


@pytest.fixture
def batch():
    return demo_mm_inputs(2, [[3, 64, 64]] * 2, num_classes=2, use_box_type=True)


@pytest.mark.parametrize('place, perturbed', [('stage:0,2', [0, 2]), ('roi', [])])
def test_noise_at_other_places(train, place, perturbed):
    """That of stages is drawn, also in validation; that of regions is not, but the clean features of the image."""
    hook = dict(type='FeatureMapHook', interval=4, images=1, arrays=True)
    runner = train(
        'demo_baseline.py',
        fnoise=f'cct@{place}',
        custom_hooks=[hook],
        **{'visualizer.vis_backends': [dict(type='LocalVisBackend')]},
    )
    data = Path(runner.log_dir) / 'vis_data'
    files = sorted(data.glob('feature_maps_*.npz'))
    assert len(files) == 2  # of training and validation
    for file in files:
        arrays = np.load(file)
        assert sorted(name for name in arrays if name.startswith('perturbed')) == [f'perturbed_{i}' for i in perturbed]
        for index in perturbed:
            clean, noisy = arrays[f'clean_{index}'], arrays[f'perturbed_{index}']
            assert (abs(noisy - clean) <= 0.3 * abs(clean) + 1e-6).all() and (noisy != clean).any()


def test_hook_goes_off_after_an_iteration_that_was_broken_off(detector, batch, tmp_path):
    runner, hook = Stub(detector, tmp_path), FeatureMapHook(interval=1)
    hook.before_run(runner)
    hook.before_train_iter(runner, 0, batch)
    assert attached(detector)
    batch['inputs'][0][:] = 255
    detector.backbone.conv1.weight.data[:] = float('nan')
    with pytest.raises(FloatingPointError):
        detector.train()(**detector.data_preprocessor(batch, True), mode='loss')
    hook.interval = 99
    hook.before_train_iter(runner, 1, batch)
    assert not attached(detector)
    hook.after_train_iter(runner, 1, batch)
    assert runner.drawn == [] and runner.warnings == []


@pytest.mark.parametrize('kind', ['video', 'text', 'no level'])
def test_undrawable_inputs_are_reported_once(detector, batch, tmp_path, kind):
    runner = Stub(detector, tmp_path)
    hook = FeatureMapHook(interval=1, levels=[9] if kind == 'no level' else None)
    hook.before_run(runner)
    given = {
        'video': dict(inputs=[torch.zeros(2, 3, 64, 64)] * 2, data_samples=batch['data_samples']),
        'text': 'something else',
        'no level': batch,
    }[kind]
    for _ in range(2):
        hook.before_train_iter(runner, 0, given)
        run(detector.train())
        hook.after_train_iter(runner, 0, given)
        hook.before_val_iter(runner, 0, given)
        run(detector.eval())
        hook.after_val_iter(runner, 0, given)
    assert runner.drawn == [] and not attached(detector)
    message = {'video': 'is not an image', 'text': 'not one of inputs', 'no level': 'levels must be in'}[kind]
    assert len(runner.warnings) == 1 and message in runner.warnings[0]


def test_drawing_errors_do_not_stop_a_training(detector, batch, tmp_path):
    runner, hook = Stub(detector, tmp_path), FeatureMapHook(interval=1)

    def full_disk(name, image, step):
        raise OSError('No space left on device')

    runner.visualizer.add_image = full_disk
    hook.before_run(runner)
    for _ in range(2):
        hook.before_train_iter(runner, 0, batch)
        run(detector.train())
        hook.after_train_iter(runner, 0, batch)
    assert runner.warnings == ['FeatureMapHook draws nothing: OSError: No space left on device']


def test_number_of_files_is_limited_over_all_starts_of_a_run(detector, batch, tmp_path):
    for name in ('vis_image/feature_maps_train_1.png', 'feature_maps_train_1.npz', 'vis_image/other.png'):
        (tmp_path / 'earlier/vis_data' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'earlier/vis_data' / name).touch()
    runner, hook = Stub(detector, tmp_path), FeatureMapHook(interval=1, max_files=4)
    hook.before_run(runner)
    for _ in range(4):
        hook.before_train_iter(runner, 0, batch)
        assert bool(attached(detector)) == (len(runner.drawn) < 2)
        run(detector.train())
        hook.after_train_iter(runner, 0, batch)
        runner.iter += 1
    assert [step for _, step in runner.drawn] == [1, 2]
    assert runner.warnings == ['FeatureMapHook draws nothing: the limit of max_files=4 is reached']


def test_title_names_the_student(detector, batch, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(
        'fnoise_mmdet.engine.hooks.feature_maps.feature_panel',
        lambda image, maps, title, *_, **__: titles.append(title) or np.zeros((1, 1, 3), np.uint8),
    )
    pair = nn.ModuleDict(dict(student=detector))
    runner, hook = Stub(pair, tmp_path), FeatureMapHook(interval=1)
    hook.before_run(runner)
    hook.before_train_iter(runner, 0, batch)
    run(detector.train())
    hook.after_train_iter(runner, 0, batch)
    assert len(titles) == 1 and titles[0].startswith('training · student · ') and titles[0].endswith(' · iteration 1')


def test_validations_of_a_training_by_iterations_have_their_number(detector, batch, tmp_path):
    runner, hook = Stub(detector.eval(), tmp_path), FeatureMapHook(images=['a.png'])
    runner._train_loop = object.__new__(IterBasedTrainLoop)
    runner.message_hub.get_info = lambda name, default: dict(iter=19, epoch=0)[name]
    batch['data_samples'][1].set_metainfo(dict(img_id='x/7', img_path='folder/a.png'))
    hook.before_run(runner)
    hook.before_val_iter(runner, 0, batch)
    run(detector)
    hook.after_val_iter(runner, 0, batch)
    assert runner.drawn == [('feature_maps_val_x_7', 20)] and runner.warnings == []


def test_model_without_drawable_features_is_reported(detector, tmp_path):
    for model, source, reason in (
        (nn.Linear(1, 1), 'noise', 'Linear has no backbone'),
        (detector, 'neck', 'RetinaNet has no neck'),
    ):
        detector.neck = None
        runner, hook = Stub(model, tmp_path), FeatureMapHook(interval=1, source=source)
        hook.before_run(runner)
        assert runner.warnings == [f'FeatureMapHook draws nothing: {reason}']
        hook.before_train_iter(runner, 0, {})
        hook.before_val_iter(runner, 0, {})
        assert not attached(model)


def test_boxes_are_those_of_the_sample_and_of_the_detector(detector, batch, tmp_path, monkeypatch):
    """Ground truth that the pipeline did not resize, and predictions, come from the original image."""
    seen = []
    monkeypatch.setattr(
        'fnoise_mmdet.engine.hooks.feature_maps.feature_panel',
        lambda *_, boxes, **__: seen.append(boxes) or np.zeros((1, 1, 3), np.uint8),
    )
    loads = Compose([dict(type='Resize', scale=(64, 64)), dict(type='LoadAnnotations', with_bbox=True)])
    runner, hook = Stub(detector.eval(), tmp_path), FeatureMapHook(images=1)
    runner.val_dataloader.dataset.pipeline = loads
    hook.before_run(runner)
    corners = torch.tensor([[2.0, 4.0, 8.0, 10.0]])
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(scale_factor=(4.0, 2.0), border=(0, 0, 0, 0), img_id=5))
        sample.gt_instances = InstanceData(bboxes=corners)
    outputs = [DetDataSample(metainfo=dict(scale_factor=(4.0, 2.0))) for _ in range(2)]
    for output in outputs:
        output.pred_instances = InstanceData(bboxes=corners + 1, scores=torch.tensor([0.5]))
    for part in ('val', 'train'):
        if part == 'val':
            hook.before_val_iter(runner, 0, batch)
        else:
            hook.interval = 1
            hook.before_train_iter(runner, 0, batch)
        run(detector.train(part == 'train'))
        if part == 'val':
            hook.after_val_iter(runner, 0, batch, outputs)
        else:
            hook.after_train_iter(runner, 0, batch)
    assert [one.box for one in seen[0].ground_truth] == [[8, 8, 32, 20]]
    assert [one.box for one in seen[0].predicted] == [[12, 10, 36, 22]]
    assert [one.box for one in seen[-1].ground_truth] == corners.tolist()
    assert seen[-1].predicted is None and runner.warnings == []
    assert runner.drawn[0] == ('feature_maps_val_5', 5) and runner.drawn[-1] == ('feature_maps_train', 1)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(interval=0), 'interval must be >= 1, but got 0'),
        (dict(images=-1), 'images must be >= 0, but got -1'),
        (dict(images='000001.png'), "images must be a number or a list of ids or file names, but got '000001.png'"),
        (dict(reduction='median'), 'reduction must be one of'),
        (dict(top_k=0), 'top_k must be >= 1, but got 0'),
        (dict(source='head'), "source must be one of .*, but got 'head'"),
        (dict(levels='12'), "levels must be a list of integers, but got '12'"),
        (dict(max_files=0), 'max_files must be >= 1, but got 0'),
        (dict(max_size=10), 'max_size must be >= 200, but got 10'),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FeatureMapHook(**settings)
