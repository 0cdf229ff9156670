import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from fnoise_mmdet.checkpoint import ANYTHING, WEIGHTS_ONLY, TrustCheckpoint, load_checkpoint, refuse_code
from fnoise_mmdet.errors import InputError


class Malicious:
    """What makes a file when it is unpickled; a real one would do worse."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


@pytest.fixture(autouse=True)
def switches(monkeypatch):
    """Leave torch's switches as they were."""
    monkeypatch.setenv(WEIGHTS_ONLY, '0')
    monkeypatch.setenv(ANYTHING, '0')


@pytest.fixture(params=[True, False], ids=['zip', 'legacy'])
def malicious(request, tmp_path):
    path = tmp_path / 'bad.pth'
    content = dict(state_dict={}, meta=Malicious(tmp_path / 'touched'))
    torch.save(content, path, _use_new_zipfile_serialization=request.param)
    return path


def test_code_in_a_checkpoint_is_refused_and_not_run(malicious, tmp_path):
    with pytest.raises(InputError, match=r'bad.pth holds more than weights and plain data .*--trust-checkpoint'):
        load_checkpoint(str(malicious))
    assert not (tmp_path / 'touched').exists()


def test_mmengine_refuses_it_too(malicious, tmp_path):
    from mmengine.runner.checkpoint import CheckpointLoader

    refuse_code()
    with pytest.raises(Exception, match='holds more than weights and plain data'):
        CheckpointLoader.load_checkpoint(str(malicious), map_location='cpu')
    assert not (tmp_path / 'touched').exists()


def test_a_trusted_checkpoint_is_loaded(malicious, tmp_path):
    parser = argparse.ArgumentParser()
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    assert not parser.parse_args([]).trust_checkpoint
    assert parser.parse_args(['--trust-checkpoint']).trust_checkpoint
    refuse_code()
    assert WEIGHTS_ONLY not in os.environ
    load_checkpoint(str(malicious))
    assert (tmp_path / 'touched').exists()


@pytest.mark.parametrize('as_zip', [True, False])
def test_what_mmengine_saves_is_loaded(tmp_path, as_zip):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    content = dict(
        state_dict=dict(weight=torch.rand(3)),
        meta=dict(epoch=1, dataset_meta=dict(classes=('cat',)), number=np.float64(3)),
        message_hub=dict(log_scalars=dict(loss=buffer), runtime_info=dict(lr=np.float32(0.1))),
    )
    torch.save(content, tmp_path / 'good.pth', _use_new_zipfile_serialization=as_zip)
    loaded = load_checkpoint(str(tmp_path / 'good.pth'))
    assert torch.equal(loaded['state_dict']['weight'], content['state_dict']['weight'])
    assert loaded['message_hub']['log_scalars']['loss'].mean() == 1.5


def test_what_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(InputError, match='a.pth is not a file'):
        load_checkpoint(str(path))
    for content in (b'', b'weights', b'PK\x03\x04torn'):
        path.write_bytes(content)
        with pytest.raises(InputError, match='a.pth cannot be read'):
            load_checkpoint(str(path))
    torch.save([1, 2], path)
    with pytest.raises(InputError, match='it holds a list, not a dict'):
        load_checkpoint(str(path))
