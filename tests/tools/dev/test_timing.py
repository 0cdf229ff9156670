import gc
import json
import time
import weakref
from importlib.metadata import version

import pytest
import torch
from timing import interleave, kept_bytes, median_error, summarize, warn_if_busy, write_results


def test_every_subject_is_timed_once_a_round_in_both_orders():
    calls = []
    times = interleave({name: lambda name=name: calls.append(name) for name in 'abc'}, rounds=4, warmup=1)
    assert {name: len(seconds) for name, seconds in times.items()} == {'a': 4, 'b': 4, 'c': 4}
    rounds = [''.join(calls[start : start + 3]) for start in range(0, 15, 3)]
    assert rounds == ['abc', 'cba', 'abc', 'cba', 'abc']


def test_times_are_those_that_subjects_take():
    times = interleave(dict(short=lambda: time.sleep(0.01), long=lambda: time.sleep(0.03)), rounds=3)
    assert all(0.01 <= one < 0.03 for one in times['short']) and min(times['long']) >= 0.03


def test_garbage_is_collected_between_rounds_alone():
    class Garbage:
        def __init__(self):
            self.itself = self

    seen, gone = [], []

    def subject():
        seen.append((gc.isenabled(), len(gone)))
        weakref.finalize(Garbage(), gone.append, None)

    interleave(dict(a=subject, b=subject), rounds=3, warmup=0)
    assert seen == [(False, 0), (False, 0), (False, 2), (False, 2), (False, 4), (False, 4)]
    assert gc.isenabled()


def test_summary_has_medians_quartiles_and_paired_ratios():
    found = summarize(dict(copy=[1, 2, 4, 8, 16], noise=[2, 6, 8, 8, 64]), 'copy')
    assert (found['copy'].low, found['copy'].median, found['copy'].high) == (2, 4, 8)
    assert (found['copy'].ratio_low, found['copy'].ratio, found['copy'].ratio_high) == (1, 1, 1)
    # Ratios 2, 3, 2, 1, 4.
    assert (found['noise'].ratio_low, found['noise'].ratio, found['noise'].ratio_high) == (2, 2, 3)
    assert found['noise'].rounds == 5


def test_the_error_of_a_median_holds_19_times_in_20():
    """The threshold is 5 standard deviations of a share of 2,000, and 0.01 for the quartiles' own error."""
    samples = torch.randn(2000, 101, generator=torch.Generator().manual_seed(1)).mul(3).add(7)
    low, median, high = samples.quantile(torch.tensor([0.25, 0.5, 0.75]), dim=1)
    errors = torch.tensor([median_error(float(a), float(b), 101) for a, b in zip(low, high)])
    assert abs(((median - 7).abs() <= errors).float().mean() - 0.95) < 0.025 + 0.01


def test_kept_bytes_are_those_beyond_what_is_known():
    x = torch.randn(100, requires_grad=True)
    assert kept_bytes(lambda: x * 2.0, [x]) == 0
    assert kept_bytes(lambda: x * x, [x]) == 0
    assert kept_bytes(lambda: x * torch.rand(100), [x]) == 400
    assert kept_bytes(lambda: (x * torch.rand(100)).exp(), [x]) == 800


def test_results_come_with_machine_and_versions(tmp_path):
    summaries = summarize(dict(copy=[1.0, 1.0]), 'copy')
    write_results(tmp_path / 'a/noise.json', 'noise', dict(rounds=2), summaries)
    content = json.loads((tmp_path / 'a/noise.json').read_text())
    assert content['results']['copy']['median'] == 1 and content['settings'] == dict(rounds=2)
    assert content['environment']['torch'] == version('torch')


@pytest.mark.parametrize('percent, warned', [(3.0, False), (60.0, True)])
def test_busy_machine_is_reported(monkeypatch, capsys, percent, warned):
    monkeypatch.setattr('psutil.cpu_percent', lambda interval: percent)
    warn_if_busy()
    assert ('other processes use 60 % of the processors' in capsys.readouterr().out) is warned
