import copy
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from hostile_checkpoints import hostile_checkpoints, not_files, with_config
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from fnoise_mmdet.engine import checkpoint_reader
from fnoise_mmdet.engine.checkpoint import ANYTHING, WEIGHTS_ONLY, load_checkpoint, refuse_code
from fnoise_mmdet.engine.checkpoint_reader import read_checkpoint
from fnoise_mmdet.errors import InputError

NAMES = sorted(hostile_checkpoints('canary'))


@pytest.fixture(autouse=True)
def guarded(monkeypatch):
    """Guard the process as the tools do, and leave it as it was."""
    monkeypatch.setattr(torch, 'load', torch.load)
    monkeypatch.setenv(WEIGHTS_ONLY, '0')
    monkeypatch.setenv(ANYTHING, '0')
    refuse_code()


def test_there_are_enough():
    assert len(NAMES) >= 40


@pytest.mark.parametrize('name', NAMES)
def test_hostile_checkpoint_is_refused_in_a_line_and_not_run(name, tmp_path):
    canary, path = tmp_path / 'canary', tmp_path / 'bad.pth'
    path.write_bytes(hostile_checkpoints(canary)[name])
    for load in (load_checkpoint, CheckpointLoader.load_checkpoint, torch.load):
        with pytest.raises(InputError, match=r'bad.pth (holds more than weights|cannot be read)') as caught:
            load(str(path))
        assert len(str(caught.value).splitlines()) == 1
    assert not canary.exists()


@pytest.mark.parametrize('name', list(not_files('.')))
def test_what_is_no_regular_file_is_refused_before_it_is_opened(name, tmp_path):
    path = tmp_path / 'bad.pth'
    not_files(tmp_path)[name](path)
    for load in (load_checkpoint, torch.load):
        with pytest.raises(InputError, match=r'bad.pth (is not a file|cannot be read)'):
            load(str(path))


def test_config_in_a_checkpoint_is_not_run(tmp_path):
    with_config(tmp_path / 'bad.pth', tmp_path / 'canary', dict(meta=dict(epoch=1), state_dict={}))
    assert load_checkpoint(str(tmp_path / 'bad.pth'))['meta'] == dict(epoch=1)


def contents():
    shared = torch.arange(6.0)
    state = dict(weight=shared.view(2, 3), view=shared[1:4], column=shared.view(2, 3).t(), empty=torch.empty(0, 3))
    state |= {f'of_{dtype}'.replace('torch.', ''): torch.ones(2, dtype=dtype) for dtype in (
        torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)}  # fmt: skip
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    return dict(
        state_dict=model.state_dict(),
        other=state,
        parameter=torch.nn.Parameter(torch.rand(2)),
        optimizer=optimizer.state_dict(),
        meta=dict(epoch=1, dataset_meta=dict(classes=('cat', 'größe')), number=np.float64(3), small=np.float32(0.5)),
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1])), runtime_info=dict(lr=0.1)),
        array=np.arange(6).reshape(2, 3),
        log=('a/vis_data/scalars.json', 12),
        nested=[{1, 2}, b'bytes', None, True, -1, 2**40, (1.5, 'x')],
    )


@pytest.mark.parametrize('as_zip', [True, False])
def test_what_torch_saves_is_read_as_torch_reads_it(tmp_path, as_zip):
    content = contents()
    torch.save(copy.deepcopy(content), tmp_path / 'good.pth', _use_new_zipfile_serialization=as_zip)
    found = read_checkpoint(tmp_path / 'good.pth')
    assert found.keys() == content.keys()
    for part in ('state_dict', 'other'):
        for name, expected in content[part].items():
            assert torch.equal(found[part][name], expected) and found[part][name].dtype == expected.dtype, name
    assert torch.equal(found['parameter'], content['parameter'])
    assert found['state_dict']._metadata == content['state_dict']._metadata
    assert torch.equal(found['optimizer']['state'][0]['exp_avg'], content['optimizer']['state'][0]['exp_avg'])
    assert found['meta'] == content['meta'] and found['nested'] == content['nested'] and found['log'] == content['log']
    assert (found['array'] == content['array']).all()
    assert found['message_hub']['log_scalars']['loss'].mean() == 1.5


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.bool, torch.complex64, torch.int64], ids=str)
def test_tensors_in_an_ordinary_pickle_are_loaded(dtype):
    """Among the results that the processes of an evaluation send one another, for one; torch loads the storages."""
    x = torch.arange(12).to(dtype).view(3, 4)
    content = pickle.loads(pickle.dumps({'x': x, 'part': x[1:, ::2], 'empty': x[:0]}))
    for name, expected in {'x': x, 'part': x[1:, ::2], 'empty': x[:0]}.items():
        assert content[name].dtype == dtype and torch.equal(content[name], expected)


def test_flipped_bit_is_noticed_anywhere(tmp_path):
    path = tmp_path / 'good.pth'
    torch.save(dict(state_dict=dict(weight=torch.rand(1000))), path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        records = [info.header_offset for info in archive.infolist()]
    for start in records:
        lengths = struct.unpack('<HH', content[start + 26 : start + 30])  # of the name and of the padding
        place = start + 30 + sum(lengths)
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=r'good.pth cannot be read'):
            load_checkpoint(str(path))


def test_number_of_operations_is_limited(tmp_path, monkeypatch):
    torch.save(dict(numbers=list(range(1000))), tmp_path / 'good.pth')
    monkeypatch.setattr(checkpoint_reader._Operations, 'left', 2000)
    load_checkpoint(str(tmp_path / 'good.pth'))
    monkeypatch.setattr(checkpoint_reader._Operations, 'left', 900)
    with pytest.raises(InputError, match='operations'):
        load_checkpoint(str(tmp_path / 'good.pth'))
