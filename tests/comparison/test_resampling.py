"""Robustness in a comparison: figures, intervals over images, curves."""

import json

import numpy as np
import pytest

from fnoise_mmdet.comparison import Condition, chart_groups, compare
from fnoise_mmdet.comparison.average_precision import average_precision, draw_resamples, match_detections
from fnoise_mmdet.comparison.measures import Common
from fnoise_mmdet.comparison.resampling import RESAMPLES, resample_images

# A shift of the boxes in pixels stands for what lowers the AP.
EVALUATIONS = {
    'clean': (dict(kind='clean'), 1.0),
    'fog_1': (dict(kind='corruption', name='fog', severity=1), 2.0),
    'fog_3': (dict(kind='corruption', name='fog', severity=3), 3.0),
    'snow_1': (dict(kind='corruption', name='snow', severity=1), 2.5),
    'noise_1': (dict(kind='feature_noise', preset='cct', scale=1.0), 4.0),
    'domain_night': (dict(kind='domain', name='night'), 3.5),
    'domain_flat': (dict(kind='domain', name='flat'), 2.5),
    'e2m1': (dict(kind='deployment', name='e2m1'), 3.0),
    'additive': (dict(kind='deployment', name='additive', scale=0.1), 2.0),
}


@pytest.fixture
def tested(shapes, make_run, make_detections, write_robustness, tmp_path):
    """A pair of two seeds, each evaluated on 16 images; and its AP by condition, seed and evaluation."""
    ann_file = shapes / 'annotations/instances_train.json'
    truth = json.loads(ann_file.read_text())
    ids = [image['id'] for image in truth['images']]
    tables, conditions = {}, []
    for name, worse in (('baseline', 0.0), ('fnoise', 1.0)):
        runs = []
        for seed in (0, 1):
            work_dir, results = tmp_path / name / f'seed_{seed}', []
            folder = work_dir / 'robustness/predictions'
            folder.mkdir(parents=True)
            for label, (settings, shift) in EVALUATIONS.items():
                file = folder / f'{label}.bbox.json'
                file.write_text(json.dumps(make_detections(truth, seed, shift + worse)))
                tables[name, seed, label] = match_detections(ann_file, file, 'bbox', ids)
                ap = average_precision(tables[name, seed, label], np.ones((1, len(ids)), dtype=int))[0, 0]
                results.append(dict(**settings, metrics={'bbox_mAP': ap}, predictions=label))
            robustness = write_robustness(work_dir, results, ann_file=str(ann_file), image_ids=ids)
            runs.append(make_run(f'{name}/{seed}', record=dict(seed=seed), work_dir=work_dir, robustness=robustness))
        conditions.append(Condition(name, runs, []))
    return conditions, tables


def test_figures_and_their_intervals_over_images(tested):
    """Against the formulas on the AP of every resample: mPC a mean of AP, rPC and the share kept
    on hardware ratios of such means to the clean AP.
    """
    conditions, tables = tested
    drawn = draw_resamples(16, RESAMPLES)
    ap = {key: average_precision(of_evaluation, drawn)[:, 0] for key, of_evaluation in tables.items()}
    mpc, rpc, perturbed, other, rounded, kept = {}, {}, {}, {}, {}, {}
    for name in ('baseline', 'fnoise'):
        for seed in (0, 1):
            mpc[name, seed] = sum(ap[name, seed, label] for label in ('fog_1', 'fog_3', 'snow_1')) / 3
            rpc[name, seed] = mpc[name, seed] / ap[name, seed, 'clean']
            perturbed[name, seed] = ap[name, seed, 'noise_1']
            other[name, seed] = (ap[name, seed, 'domain_night'] + ap[name, seed, 'domain_flat']) / 2
            rounded[name, seed] = (ap[name, seed, 'e2m1'] + ap[name, seed, 'additive']) / 2
            kept[name, seed] = rounded[name, seed] / ap[name, seed, 'clean']
    found = compare(conditions)
    figures = dict(mPC=mpc, rPC=rpc, noise=perturbed, domains=other, deployment=rounded, deployment_kept=kept)
    for key, values in figures.items():
        differences = [values['fnoise', seed] - values['baseline', seed] for seed in (0, 1)]
        expected = np.quantile(np.mean(differences, axis=0), [0.025, 0.975])
        difference = found.difference(f'bbox_mAP/{key}', 'fnoise')
        assert difference.images == pytest.approx(expected, abs=1e-9)
        assert expected[0] < difference.mean < expected[1]
        assert difference.measure.better == 'higher' and not difference.measure.is_component
    parts = {measure.key for measure in found.measures if measure.is_component}
    hardware = [f'{key} {name}' for key in ('deployment', 'deployment_kept') for name in ('e2m1', 'additive 0.1')]
    names = ('fog', 'snow', 'domain night', 'domain flat', *hardware)
    assert {f'bbox_mAP/{name}' for name in names} <= parts


def test_only_what_all_runs_have_counts(tested):
    conditions, _ = tested
    again = conditions[0].runs[0].robustness.results
    again.append(again[5])  # a domain that was evaluated twice is one
    assert Common.of([one for condition in conditions for one in condition.runs]).domains == ['night', 'flat']
    run = conditions[1].runs[1]
    short = run.robustness._replace(results=run.robustness.results[:3])  # neither snow nor noise nor another domain
    conditions[1].runs[1] = run._replace(robustness=short)
    draws = resample_images(conditions, lambda items, _: items)
    assert {key for _, _, key in draws} == {'bbox_mAP/mPC', 'bbox_mAP/rPC'}
    fog = [one['metrics']['bbox_mAP'] for one in conditions[0].runs[0].robustness.results[1:3]]
    measure = next(one for one in compare(conditions).measures if one.key == 'bbox_mAP/mPC')
    assert measure.values['baseline'][0] == pytest.approx(np.mean(fog))


def test_without_detections_there_are_figures_but_no_intervals(tested):
    conditions, _ = tested
    for file in conditions[0].runs[0].robustness.folder.glob('predictions/snow_1.*'):
        file.unlink()
    difference = compare(conditions).difference('bbox_mAP/mPC', 'fnoise')
    assert difference.mean < 0 and difference.images is None


def test_curves(tested):
    conditions, _ = tested
    (group,) = [group for group in chart_groups(conditions) if group.key == 'robustness']
    severity, scale = group.rows[0]
    results = {one['predictions']: one['metrics']['bbox_mAP'] for one in conditions[0].runs[0].robustness.results}
    line = severity.lines[0]
    assert severity.x_label == 'severity' and line.x == [0, 1, 3] and line.label == 'baseline'
    assert (
        min(line.low[1], line.high[1]) <= (results['fog_1'] + results['snow_1']) / 2 <= max(line.low[1], line.high[1])
    )
    assert scale.lines[1].x == [0, 1.0] and 'mean of 2 corruptions' in group.note
