import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fnoise_mmdet import FeatureNoise
from fnoise_mmdet.config import use_data_root
from fnoise_mmdet.datasets import make_shapes, read_coco
from fnoise_mmdet.errors import InputError
from fnoise_mmdet.evaluation.robustness import (
    CostGroup,
    Evaluation,
    NoisePerImage,
    ResultFile,
    RobustnessSetup,
    make_plan,
    noise_in_evaluation,
)
from fnoise_mmdet.models.layers import find_noise_layers
from fnoise_mmdet.noise.stream import draw_uniform, make_generator

CLEAN = Evaluation('clean')
FPN = dict(type='FPN', in_channels=[4, 8], out_channels=4, num_outs=2)


@pytest.fixture
def config(root, shapes):
    """Read a config of the checkout for the small data set."""
    torch.set_num_threads(1)

    def read(name: str = 'demo_baseline', **options) -> Config:
        cfg = Config.fromfile(root / 'configs' / f'{name}.py')
        cfg.merge_from_dict({'val_dataloader.num_workers': 0, 'val_dataloader.batch_size': 2, **options})
        use_data_root(cfg, str(shapes), required=('val',))
        return cfg

    return read


@pytest.fixture(scope='module')
def checkpoint(root, tmp_path_factory) -> Path:
    """Random weights of the demo's detector."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(root / 'configs/demo_baseline.py').model)
    model.init_weights()
    path = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def detections(folder: Path, label: str) -> list[dict]:
    return json.loads((folder / f'{label}.bbox.json').read_text())


def test_plan_begins_with_the_clean_images():
    plan = make_plan(['fog', 'snow'], [5, 1, 1], [1, 0.25], 'l2')
    assert [one.label() for one in plan] == [
        'clean', 'fog_1', 'fog_5', 'snow_1', 'snow_5', 'feature_noise_l2_0.25', 'feature_noise_l2_1',
    ]  # fmt: skip
    assert plan[1].settings() == dict(kind='corruption', name='fog', severity=1)
    assert plan[5].settings() == dict(kind='feature_noise', preset='l2', scale=0.25)


def test_noise_of_an_image_does_not_depend_on_the_batch():
    x = torch.randn(3, 4, 5, 6)
    noise = NoisePerImage(FeatureNoise('cct', scale=0.5), seed=7)
    noise.images = [10, 11, 12]
    together = noise.perturb(x, (0, 0, 0, 0, 2))
    for i, image in enumerate(noise.images):
        # CCT: x + x n, n ~ U(-scale, scale) of shape (C, H, W)
        n = 0.5 * draw_uniform(torch.empty(4, 5, 6), make_generator((7, image, 0, 2)))
        assert torch.allclose(together[i], x[i] + x[i] * n)
        alone = NoisePerImage(noise.noise, seed=7)
        alone.images = [image]
        assert torch.equal(together[i : i + 1], alone.perturb(x[i : i + 1], (1, 2, 3, 4, 2)))
    assert not torch.equal((together / x)[0], (together / x)[1]), 'cct alone would share the draw'
    assert not torch.equal(together, noise.perturb(x, (0, 0, 0, 0, 3))), 'levels have draws of their own'
    noise.images = [1, 2]
    with pytest.raises(ValueError, match='features of 2 images, but got 3'):
        noise.perturb(x, (0,))


@pytest.mark.parametrize('position', ['pre', 'post'])
def test_noise_is_in_the_forward_pass_within_the_block_alone(position):
    init_default_scope('mmdet')
    neck = MODELS.build(dict(type='FNoiseNeck', neck=FPN, position=position, levels=[-1])).eval()
    features = tuple(torch.randn(2, 4 * 2**i, 8 // 2**i, 8 // 2**i) for i in range(2))
    plain, own = neck.neck(features), neck.noise
    noise = NoisePerImage(FeatureNoise(scale=0.5), seed=0)
    noise.images = [3, 4]
    with noise_in_evaluation(torch.nn.Sequential(neck), noise):
        noisy = neck(features)
    if position == 'post':
        expected = (plain[0], noise.perturb(plain[1], (1,)))
    else:
        expected = neck.neck((features[0], noise.perturb(features[1], (1,))))
    assert all(torch.equal(a, b) for a, b in zip(noisy, expected))
    assert not torch.equal(noisy[1], plain[1])
    assert all(torch.equal(a, b) for a, b in zip(neck(features), plain)), 'nothing is left behind'
    assert neck.noise is own and not neck._forward_hooks and not neck._forward_pre_hooks
    with pytest.raises(RuntimeError), noise_in_evaluation(neck, noise):
        raise RuntimeError
    assert neck.noise is own and not neck._forward_hooks and not neck._forward_pre_hooks


def test_a_backbone_s_single_level_may_stand_alone():
    init_default_scope('mmdet')
    neck = MODELS.build(dict(type='FNoiseNeck', neck=None)).eval()
    noise = NoisePerImage(FeatureNoise(scale=0.5), seed=0)
    noise.images = [3]
    x = torch.randn(1, 2, 3, 3)
    with noise_in_evaluation(neck, noise):
        assert torch.equal(neck(x), noise.perturb(x, (0,)))


def test_place_of_the_noise_is_the_same_for_every_checkpoint(config, checkpoint):
    cfgs = [config('demo_baseline'), config('demo_fnoise'), config('demo_fnoise', **{'model.neck.levels': [-1]})]
    for preset, place in (('cct', (None, 'pre')), ('uniform_20', (None, 'post')), ('mean_normal', ((-1,), 'pre'))):
        for cfg in cfgs:
            (neck,) = find_noise_layers(RobustnessSetup(cfg, checkpoint).load_model(preset))
            assert (neck.levels, neck.position) == place
    assert not find_noise_layers(RobustnessSetup(cfgs[1], checkpoint).load_model())


def test_evaluations_are_repeated_and_leave_no_trace(config, checkpoint, tmp_path):
    done: list[int] = []
    results = []
    for name, folder in (('demo_baseline', tmp_path / 'a'), ('demo_fnoise', tmp_path / 'b')):
        evaluator = RobustnessSetup(config(name), checkpoint).build('cct')
        plan = [
            CLEAN, Evaluation('corruption', 'gaussian_noise', 5), Evaluation('feature_noise', preset='cct', scale=1.0),
            Evaluation('deployment', 'int4'), Evaluation('deployment', 'additive', scale=0.4),
        ]  # fmt: skip
        results.append([evaluator.evaluate(one, folder, done.append) for one in plan])
        assert evaluator.evaluate(CLEAN, folder / 'again') == results[-1][0]
        zero = Evaluation('feature_noise', preset='cct', scale=0.0)
        evaluator.evaluate(zero, folder / 'again')
        clean = detections(folder, 'clean')
        assert clean and clean == detections(folder / 'again', 'clean') == detections(folder / 'again', zero.label())
        for one in plan[1:]:
            assert detections(folder, one.label()) != clean
            assert detections(folder, one.label()) == detections(tmp_path / 'a', one.label()), 'of weights alone'
    assert results[0] == results[1]
    assert done == [2] * 2 * 5 * 2, 'batches of 2 of 4 images'
    assert results[0][2]['snr_db'] == pytest.approx(4.8, abs=0.1), 'the noise of U(-1, 1) has a third of the power'
    assert results[0][4]['snr_db'] == pytest.approx(8.0, abs=0.2) and 'snr_db' not in results[0][1]
    assert {'bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50'} <= set(results[0][0])
    assert (tmp_path / 'a/clean.segm.json').is_file()


def test_expected_time_includes_the_corruption(config, checkpoint, tmp_path, monkeypatch):
    def slow(image, name, *_):
        time.sleep(3.0 if name == 'fog' else 0.0)
        return image

    monkeypatch.setattr('fnoise_mmdet.evaluation.corruption.corrupt', slow)
    evaluator = RobustnessSetup(config(), checkpoint).build('cct')
    plan = make_plan(['fog', 'snow'], [1, 2], [0.5], 'cct')
    state = torch.random.get_rng_state()
    expected = evaluator.expect(plan)
    assert torch.equal(state, torch.random.get_rng_state())
    fog, snow = (CostGroup('corruption', name) for name in ('fog', 'snow'))
    assert list(expected) == [CostGroup('clean'), fog, snow, CostGroup('feature_noise')]
    assert expected[fog] > 3.0 and all(seconds > 0 for seconds in expected.values())
    assert expected[fog] > expected[snow] + 1.5
    metrics = evaluator.evaluate(CLEAN, tmp_path)
    assert metrics == RobustnessSetup(config(), checkpoint).build('cct').evaluate(CLEAN, tmp_path), 'no trace is left'


def test_first_images_alone(config, checkpoint, shapes, tmp_path):
    setup = RobustnessSetup(config(), checkpoint, images=3)
    metrics = setup.build().evaluate(CLEAN, tmp_path)
    assert setup.identity()['image_ids'] == [1, 2, 3] == sorted({d['image_id'] for d in detections(tmp_path, 'clean')})
    # What COCO's own code gives for the annotations of these images.
    coco = read_coco(shapes / 'annotations/instances_val.json')
    for name, key in (('images', 'id'), ('annotations', 'image_id')):
        coco[name] = [record for record in coco[name] if record[key] <= 3]
    (tmp_path / 'three.json').write_text(json.dumps(coco))
    metric = CocoMetric(str(tmp_path / 'three.json'), metric='bbox')
    detected = metric._coco_api.loadRes(detections(tmp_path, 'clean'))
    from pycocotools.cocoeval import COCOeval

    evaluation = COCOeval(metric._coco_api, detected, 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert metrics['bbox_mAP'] == round(evaluation.stats[0], 3)
    assert metrics['bbox_mAP_50'] == round(evaluation.stats[1], 3)


def test_no_detection_is_ap_zero_and_an_empty_list(config, checkpoint, tmp_path):
    setup = RobustnessSetup(config(**{'model.test_cfg.rcnn.score_thr': 1.0}), checkpoint)
    metrics = setup.build().evaluate(CLEAN, tmp_path)
    assert metrics['bbox_mAP'] == metrics['segm_mAP'] == 0
    assert [(path.name, path.read_text()) for path in sorted(tmp_path.iterdir())] == [
        ('clean.bbox.json', '[]'), ('clean.segm.json', '[]'),
    ]  # fmt: skip


def test_domain_is_the_same_annotations_on_other_images(config, checkpoint, shapes, tmp_path):
    make_shapes(tmp_path / 'dark', num_train=1, num_val=4, num_test=1, size=64, style='dark')
    folders = dict(same=shapes / 'val', dark=tmp_path / 'dark/val')
    setup = RobustnessSetup(config(), checkpoint)
    plan = make_plan([], [], [], 'cct', domains=folders)
    assert [one.label() for one in plan] == ['clean', 'domain_same', 'domain_dark']
    evaluator = setup.build()
    for folder in folders.values():
        setup.check_domain(folder)
    clean, same, _ = (evaluator.evaluate(one, tmp_path / 'out') for one in plan)
    assert clean == same and detections(tmp_path / 'out', 'domain_same') == detections(tmp_path / 'out', 'clean')
    assert detections(tmp_path / 'out', 'domain_dark') != detections(tmp_path / 'out', 'clean')
    assert evaluator.evaluate(CLEAN, tmp_path / 'again') == clean, 'the images of the data set again'


def test_images_of_a_domain_are_checked(config, checkpoint, shapes, tmp_path):
    setup = RobustnessSetup(config(), checkpoint)
    other = shutil.copytree(shapes / 'val', tmp_path / 'other')
    make_shapes(tmp_path / 'large', num_train=1, num_val=4, num_test=1, size=96)
    with pytest.raises(InputError, match='has 96 x 96 pixels, but 64 x 64 in the annotations'):
        setup.check_domain(tmp_path / 'large/val')
    (other / '000003.png').unlink()
    with pytest.raises(InputError, match='other has 3 of 4 images of .*, but not 000003.png'):
        setup.check_domain(other)


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_image_is_named(config, checkpoint, shapes, tmp_path, workers):
    data = shutil.copytree(shapes, tmp_path / 'data')
    cfg = config(**{'val_dataloader.num_workers': workers})
    use_data_root(cfg, str(data), required=('val',))
    evaluator = RobustnessSetup(cfg, checkpoint).build()
    (data / 'val/000002.png').write_bytes(b'not an image')  # after the checks
    with pytest.raises(InputError, match=r'^an image cannot be loaded: .*000002.png$'):
        evaluator.evaluate(CLEAN, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'val_dataloader': None}, 'has no val_dataloader'),
        ({'val_evaluator.type': 'CityScapesMetric'}, 'must be a CocoMetric or CompleteCocoMetric'),
        ({'val_evaluator.metric': 'proposal'}, 'must be a CocoMetric or CompleteCocoMetric'),
        ({'val_dataloader.dataset.type': 'VOCDataset'}, 'must have one data set in COCO format'),
        ({'val_dataloader.dataset.pipeline.0.type': 'LoadProposals'}, 'its pipeline has no LoadImageFromFile'),
        ({'val_dataloader.dataset.metainfo.classes': ('a', 'b')}, "has none of the config's classes"),
    ],
)
def test_configs_that_cannot_be_evaluated(config, checkpoint, options, message):
    cfg = config()
    cfg.merge_from_dict(options)
    with pytest.raises(InputError, match=message):
        RobustnessSetup(cfg, checkpoint)


def test_an_evaluation_without_objects_is_refused(config, checkpoint, shapes, tmp_path):
    data = shutil.copytree(shapes, tmp_path / 'data')
    path = data / 'annotations/instances_val.json'
    content = json.loads(path.read_text())
    content['annotations'] = [one for one in content['annotations'] if one['image_id'] > 2]
    path.write_text(json.dumps(content))
    cfg = config()
    use_data_root(cfg, str(data), required=('val',))
    RobustnessSetup(cfg, checkpoint)
    with pytest.raises(InputError, match='AP is undefined, and with it mPC: .* on the 2 images to evaluate on'):
        RobustnessSetup(cfg, checkpoint, images=2)


def test_checkpoint_of_another_detector(config, checkpoint):
    with pytest.raises(InputError, match=r'random.pth does not fit the config'):
        RobustnessSetup(config(**{'model.neck.num_outs': 5, 'model.backbone.depth': 34}), checkpoint).build()


def test_images_too_small_to_be_corrupted(config, checkpoint):
    setup = RobustnessSetup(config(), checkpoint)
    setup.check_sizes()
    setup.image_records[1].update(width=20)
    with pytest.raises(InputError, match=r'image 000002.png of 20 x 64 pixels'):
        setup.check_sizes()


class TestResultFile:
    plan = make_plan(['fog'], [1, 2], [0.5], 'cct')

    def fill(self, work_dir, setup):
        results = ResultFile(work_dir, setup)
        results.start()
        for number, one in enumerate(results.missing(self.plan)):
            results.add(one, {'bbox_mAP': number / 10})
        return json.loads(results.path.read_text())

    def test_format(self, config, checkpoint, shapes, tmp_path):
        content = self.fill(tmp_path / 'new/run', RobustnessSetup(config(), checkpoint, seed=3))
        ann_file = str((shapes / 'annotations/instances_val.json').resolve())
        expected = dict(checkpoint=str(checkpoint), ann_file=ann_file, images=4, image_ids=[1, 2, 3, 4], seed=3)
        assert content.items() >= expected.items()
        assert content['results'] == [
            dict(kind='clean', metrics={'bbox_mAP': 0.0}, predictions='clean'),
            dict(kind='corruption', name='fog', severity=1, metrics={'bbox_mAP': 0.1}, predictions='fog_1'),
            dict(kind='corruption', name='fog', severity=2, metrics={'bbox_mAP': 0.2}, predictions='fog_2'),
            dict(
                kind='feature_noise', preset='cct', scale=0.5, metrics={'bbox_mAP': 0.3},
                predictions='feature_noise_cct_0.5',
            ),
        ]  # fmt: skip
        assert [path.name for path in (tmp_path / 'new/run/robustness').iterdir()] == ['robustness.json']

    def test_what_is_there_is_kept(self, config, checkpoint, tmp_path):
        setup = RobustnessSetup(config(), checkpoint)
        first = self.fill(tmp_path, setup)
        (tmp_path / 'robustness/predictions').mkdir()
        results = ResultFile(tmp_path, setup)
        results.start()
        assert not results.missing(self.plan) and (tmp_path / 'robustness/predictions').is_dir()
        more = make_plan(['fog', 'snow'], [2, 3], [0.5, 1.0], 'l2')
        assert [one.label() for one in results.missing(more)] == [
            'fog_3', 'snow_2', 'snow_3', 'feature_noise_l2_0.5', 'feature_noise_l2_1',
        ]  # fmt: skip
        results.add(more[2], {'bbox_mAP': 0.9})
        assert json.loads(results.path.read_text())['results'][:-1] == first['results']

    def test_results_of_another_checkpoint_are_replaced(self, config, checkpoint, tmp_path):
        self.fill(tmp_path, RobustnessSetup(config(), checkpoint))
        weights = torch.load(checkpoint)
        weights['state_dict']['backbone.conv1.weight'] += 1
        torch.save(weights, tmp_path / 'other.pth')
        results = ResultFile(tmp_path, RobustnessSetup(config(), tmp_path / 'other.pth'))
        assert results.missing(self.plan) == self.plan and 'another checkpoint' in results.note

    def test_results_of_other_settings_need_force(self, config, checkpoint, tmp_path):
        self.fill(tmp_path, RobustnessSetup(config(), checkpoint))
        (tmp_path / 'robustness/predictions').mkdir()
        for setup, what in (
            (RobustnessSetup(config(), checkpoint, seed=1), 'seed'),
            (RobustnessSetup(config(), checkpoint, images=2), 'images'),
            (RobustnessSetup(config(), checkpoint, part='test'), 'annotations, images'),
            (RobustnessSetup(config(**{'model.test_cfg.rcnn.score_thr': 0.5}), checkpoint), 'settings of the config'),
        ):
            with pytest.raises(InputError, match=f'has results of other {what}.*: --force'):
                ResultFile(tmp_path, setup)
            forced = ResultFile(tmp_path, setup, force=True)
            assert forced.missing(self.plan) == self.plan
        assert (tmp_path / 'robustness/predictions').is_dir(), 'nothing goes before the first evaluation'
        forced.start()
        assert not list((tmp_path / 'robustness').iterdir())
        # Another noise in training and other paths are no other settings.
        ResultFile(tmp_path, RobustnessSetup(config('demo_fnoise'), checkpoint))

    def test_file_of_something_else(self, config, checkpoint, tmp_path):
        (tmp_path / 'robustness').mkdir()
        (tmp_path / 'robustness/robustness.json').write_text('{"results": [')
        with pytest.raises(InputError, match='is not a file of this tool: --force replaces it'):
            ResultFile(tmp_path, RobustnessSetup(config(), checkpoint))
