import pytest
from compatibility import Outcome, PlaceOutcome, check_config, shipped_configs

from fnoise_mmdet import FeatureNoise, FNoiseNeck
from fnoise_mmdet.models.layers import OutputNoise

RETINANET = 'retinanet/retinanet_r18_fpn_1x_coco.py'


def test_shipped_configs_are_those_of_mmdet():
    names = shipped_configs()
    assert len(names) > 700 and len({name.split('/')[0] for name in names}) > 100
    assert RETINANET in names and not [name for name in names if '_base_' in name]


@pytest.mark.parametrize(
    ('name', 'detector', 'neck', 'levels'),
    [
        (RETINANET, 'RetinaNet', 'FPN', 4),
        ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', 'YOLOV3', 'YOLOV3Neck', 3),
        ('tridentnet/tridentnet_r50-caffe_1x_coco.py', 'TridentFasterRCNN', '', 1),
        pytest.param('detectors/htc_r50-rfp_1x_coco.py', 'HybridTaskCascade', 'RFP', 4, marks=pytest.mark.long),
        (
            'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
            'SoftTeacher of FasterRCNN',
            'FPN',
            4,
        ),
        ('mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py', 'Mask2FormerVideo', '', 4),
    ],
)
def test_every_kind_of_place(name, detector, neck, levels):
    finding = check_config(name, places=())
    assert (finding.outcome, finding.reason) == (Outcome.WHOLE, '')
    assert (finding.detector, finding.neck, finding.family) == (detector, neck, name.split('/')[0])
    # 10 log10(3 / 0.3^2) dB; that of the smallest level spreads by 0.12, 5 of them.
    assert len(finding.snr_db) == levels and finding.snr_db == pytest.approx([15.23] * levels, abs=0.6)


@pytest.mark.parametrize(
    ('name', 'places'),
    [
        (RETINANET, dict(stage='checked', roi='no such place', query='no such place')),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', dict(stage='checked', roi='checked', query='no such place')),
        ('detr/detr_r50_8xb2-150e_coco.py', dict(stage='checked', roi='no such place', query='checked')),
    ],
)
def test_places_inside_a_detector(name, places):
    finding = check_config(name)
    assert finding.places == places and not finding.place_reason


def test_a_place_that_breaks_a_promise_is_named(monkeypatch):
    monkeypatch.setattr(OutputNoise, '_replace', lambda self, level, module, inputs, output: output * 1.1)
    finding = check_config(RETINANET)
    assert finding.outcome is Outcome.WHOLE and finding.places['stage'] is PlaceOutcome.FAILED
    assert finding.place_reason == 'stage: AssertionError: the features in evaluation differ'


def test_build_failure_is_reported():
    finding = check_config('glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py')
    assert finding.outcome is Outcome.PARTS and 'transformers is not installed' in finding.reason
    finding = check_config('misc/d2_mask-rcnn_r50-caffe_fpn_ms-90k_coco.py')
    assert finding.outcome is Outcome.REFUSED and 'has no backbone of mmdet' in finding.reason


def test_a_file_without_a_model_is_none():
    assert check_config('common/ms_3x_coco.py') is None


@pytest.mark.parametrize(
    ('target', 'replacement', 'reason'),
    [
        ((FeatureNoise, '_perturb_levels'), lambda self, xs, *_: [x * 1.1 for x in xs], 'not those of F-Noise'),
        ((FeatureNoise, '_perturb_levels'), lambda self, xs, *_: xs, '0 levels are perturbed'),
        (
            (FNoiseNeck, 'forward'),
            lambda self, inputs: self.neck(self.preview(inputs)),
            'the features in evaluation differ',
        ),
        (
            ('fnoise_mmdet.models.wrapping._strip_prefix',),
            lambda *_: None,
            'the keys of the state dicts differ',
        ),
        (('fnoise_mmdet.models.wrapping._add_prefix',), lambda *_: None, 'Missing key'),
    ],
)
def test_a_broken_promise_is_found(monkeypatch, target, replacement, reason):
    monkeypatch.setattr(*target, replacement)
    finding = check_config(RETINANET)
    assert finding.outcome is Outcome.FAILED and reason in finding.reason
