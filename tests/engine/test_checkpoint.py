import copy
import os
import shutil
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from fnoise_mmdet.engine import checkpoint
from fnoise_mmdet.engine.checkpoint import (
    ANYTHING,
    WEIGHTS_ONLY,
    check_part,
    check_resumable,
    load_checkpoint,
    load_weights,
    refuse_code,
    trained_classes,
    trust_checkpoints,
)
from fnoise_mmdet.engine.preflight import check_checkpoint
from fnoise_mmdet.errors import InputError


class Malicious:
    """What makes a file when it is unpickled; a real one would do worse."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


@pytest.fixture(autouse=True)
def switches(monkeypatch):
    """Leave the switches as they were."""
    monkeypatch.setattr(checkpoint, '_trusted', False)
    monkeypatch.setenv(WEIGHTS_ONLY, '0')
    monkeypatch.setenv(ANYTHING, '0')


@pytest.fixture(params=[True, False], ids=['zip', 'legacy'])
def malicious(request, tmp_path):
    path = tmp_path / 'bad.pth'
    content = dict(state_dict={}, other=Malicious(tmp_path / 'touched'))
    torch.save(content, path, _use_new_zipfile_serialization=request.param)
    return path


def test_code_in_a_checkpoint_is_refused_and_not_run(malicious, tmp_path):
    with pytest.raises(InputError, match=r'bad.pth holds more than weights and plain data .*--trust-checkpoint'):
        load_checkpoint(str(malicious))
    assert not (tmp_path / 'touched').exists()


def test_mmengine_refuses_it_too(malicious, tmp_path):
    refuse_code()
    with pytest.raises(Exception, match='holds more than weights and plain data'):
        CheckpointLoader.load_checkpoint(str(malicious), map_location='cpu')
    assert not (tmp_path / 'touched').exists()


def test_an_inherited_variable_is_no_trust(malicious, tmp_path, monkeypatch):
    monkeypatch.setenv(ANYTHING, '1')
    refuse_code()
    assert ANYTHING not in os.environ and os.environ[WEIGHTS_ONLY] == '1'
    for load in (load_checkpoint, torch.load):
        with pytest.raises(InputError, match='holds more than weights and plain data'):
            load(str(malicious))
    assert not (tmp_path / 'touched').exists()


def test_a_trusted_checkpoint_is_loaded(malicious, tmp_path):
    trust_checkpoints()
    refuse_code()
    assert WEIGHTS_ONLY not in os.environ
    load_checkpoint(str(malicious))
    assert (tmp_path / 'touched').exists()


@pytest.mark.parametrize(
    'meta',
    [
        dict(dataset_meta=dict(classes=['a', 'b'])),
        dict(dataset_meta=dict(CLASSES=('a', 'b'))),
        dict(CLASSES=['a', 'b']),
    ],
)
def test_classes_of_all_versions_of_mmdet(tmp_path, meta):
    assert trained_classes(meta) == ('a', 'b')
    torch.save(dict(meta=meta, state_dict={}), tmp_path / 'a.pth')
    check_checkpoint(str(tmp_path / 'a.pth'), ('a', 'b'))
    with pytest.raises(InputError, match='was trained on the classes of the data in another order'):
        check_checkpoint(str(tmp_path / 'a.pth'), ('b', 'a'))
    assert trained_classes({}) is trained_classes(dict(dataset_meta={})) is None


def test_urls_with_the_same_file_name_have_their_own_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch, 'load', torch.load)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    files = {}
    for number, folder in enumerate('ab'):
        files[f'http://user:secret@server/{folder}/w.pth?token=secret'] = tmp_path / folder / 'w.pth'
        (tmp_path / folder).mkdir()
        torch.save(dict(weight=torch.full((1,), number)), tmp_path / folder / 'w.pth')
    downloads = []

    def download(address, path, progress):
        downloads.append(address)
        shutil.copy(files[address], path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    refuse_code()
    for load in (load_checkpoint, CheckpointLoader.load_checkpoint):
        assert [load(address)['weight'].item() for address in files] == [0, 1]
    assert downloads == list(files)
    assert f'downloading http://server/a/w.pth to {tmp_path}/hub/checkpoints/w.pth' in capsys.readouterr().out


def test_a_url_that_cannot_be_read_is_named_without_its_secrets(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    with pytest.raises(InputError, match='checkpoint http://127.0.0.1:1/w.pth cannot be downloaded') as raised:
        load_checkpoint('http://127.0.0.1:1/w.pth?token=secret')
    assert 'secret' not in str(raised.value)


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
    for content in (b'', b'weights', b'PK\x03\x04torn', b'\x89PNG\r\n\x1a\n'):
        path.write_bytes(content)
        with pytest.raises(InputError, match='a.pth cannot be read') as raised:
            load_checkpoint(str(path))
    assert 'it is not a file of torch.save' in str(raised.value)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match='it holds a list, not a dict'):
        load_checkpoint(str(path))


def test_a_flipped_bit_of_a_trusted_checkpoint_is_noticed(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(weight=torch.rand(1000)), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    trust_checkpoints()
    with pytest.raises(InputError, match='a.pth cannot be read: a checksum is wrong'):
        load_checkpoint(str(path))


JUNK_ENTRIES = {
    'state_dict': [dict(state_dict=3), dict(state_dict=[1]), dict(state_dict={1: torch.ones(1)})],
    'meta': [dict(meta=3), dict(meta=None), dict(meta='epoch 3'), dict(meta=[1])],
    'meta.epoch': [dict(meta=dict(epoch=value)) for value in (-1, '3', 1.5, None, [3])],
    'meta.iter': [dict(meta=dict(iter=value)) for value in (-1, '3')],
    'meta.dataset_meta': [dict(meta=dict(dataset_meta=value)) for value in (3, None, ['cat'], {1: 'cat'})],
    'classes': [
        dict(meta=dict(dataset_meta={name: value}))
        for name in ('classes', 'CLASSES')
        for value in (3, None, 'cat', [], [1, 2], ['a\x1b[2J'], {'cat': 1}, ['x'] * 20_001)
    ],
    'CLASSES': [dict(meta=dict(CLASSES=value)) for value in (3, [1])],
    'meta.dataset_meta.palette': [
        dict(meta=dict(dataset_meta=dict(classes=['a', 'b'], palette=value)))
        for value in (3, 'no colours', [(0, 0, 0)], [(0, 0, 256)] * 2, [(0, 0)] * 2, [0, 0])
    ],
}


@pytest.mark.parametrize(
    ('entry', 'content'), [(entry, content) for entry, contents in JUNK_ENTRIES.items() for content in contents]
)
def test_junk_in_an_entry_is_named(tmp_path, entry, content):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=rf'a.pth cannot be used: its entry {entry} should be'):
        load_checkpoint(str(tmp_path / 'a.pth'))


@pytest.mark.parametrize('palette', ['random', None, (1, 2, 3), [(0, 0, 0), (255, 255, 255)]])
def test_colours_that_mmdet_takes_are_taken(tmp_path, palette):
    torch.save(dict(meta=dict(dataset_meta=dict(classes=['a', 'b'], palette=palette))), tmp_path / 'a.pth')
    assert load_checkpoint(str(tmp_path / 'a.pth'))['meta']['dataset_meta']['palette'] == palette


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(body=nn.Linear(3, 4), norm=nn.BatchNorm1d(4), head=nn.Linear(4, 2)))


def changed(**weights):
    """Return a checkpoint of the model in which some weights are others, or missing where they are None."""
    state = make_model().state_dict()
    state.update({name.replace('__', '.'): value for name, value in weights.items()})
    return dict(state_dict={name: value for name, value in state.items() if value is not None})


@pytest.mark.parametrize(
    'content',
    [
        changed(),
        changed()['state_dict'],
        dict(state_dict={f'module.{name}': value for name, value in changed()['state_dict'].items()}),
        changed(norm__num_batches_tracked=None),
    ],
    ids=['mmengine', 'bare', 'distributed', 'without counter'],
)
def test_weights_are_loaded_in_each_form_that_mmengine_takes(content, capsys):
    model = make_model()
    nn.init.zeros_(model.head.weight)
    load_weights(model, content, 'a.pth')
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), make_model().parameters()))
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (changed(head__weight=None), r'1 missing \(head.weight\); 1 of 8 weights of the model would be random'),
        (changed(head__weight=torch.ones(3, 4)), r'1 of another shape \(head.weight\); 1 of 8'),
        (changed(norm__running_var=None), r'1 missing \(norm.running_var\); 1 of 8'),
        (changed(head__weight='text'), r'1 not tensors \(head.weight\)'),
        (dict(state_dict={'student.body.weight': torch.ones(4, 3)}), r'8 missing .* not in the model'),
        (dict(model=changed()['state_dict']), r'8 of 8 weights of the model would be random'),
        (dict(state_dict={}), r'8 of 8 weights of the model would be random'),
        (changed(head__weight=torch.full((2, 4), torch.nan)), r'1 of its weights hold NaN or infinity \(head.weight'),
        (changed(norm__running_var=torch.full((4,), torch.inf)), r'1 of its weights hold NaN or infinity'),
    ],
)
def test_checkpoint_that_would_leave_weights_random_is_refused(content, message):
    with pytest.raises(InputError, match=rf'checkpoint a.pth (does not fit the config|cannot be used): .*{message}'):
        load_weights(make_model(), content, 'a.pth')


def test_part_of_the_weights_is_enough_where_it_is_asked_for(capsys):
    model = make_model()
    content = changed(head__weight=torch.ones(3, 4), head__bias=None, other=torch.ones(1), body__bias=torch.ones(4))
    load_weights(model, content, 'a.pth', partial=True)
    assert (model.body.bias == 1).all()
    report = 'weights: 1 missing (head.bias), 1 not in the model (other), 1 of another shape (head.weight)'
    assert report in capsys.readouterr().out
    for nothing in (dict(state_dict=dict(other=torch.ones(1))), changed(body__bias=torch.full((4,), torch.nan))):
        with pytest.raises(InputError, match='random|NaN'):
            load_weights(model, nothing, 'a.pth', partial=True)


def test_part_of_a_model_is_found_for_any_module_names():
    check_part(make_model(), {'0.weight': torch.ones(4, 3), 'fc.weight': torch.ones(7, 7)}, 'a.pth')
    for weights in ({'0.weight': torch.ones(9, 9)}, {}, {'0.weight': 3}):
        with pytest.raises(InputError, match='a.pth fits no part of the model'):
            check_part(make_model(), dict(state_dict=weights), 'a.pth')
    with pytest.raises(InputError, match='a.pth cannot be used: 1 of its weights hold NaN'):
        check_part(make_model(), {'0.weight': torch.full((4, 3), torch.nan)}, 'a.pth')


def test_each_weight_fills_one_of_the_model():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False))
    one, two = {'a.weight': torch.ones(4, 4)}, {'a.weight': torch.ones(4, 4), 'b.weight': torch.ones(4, 4)}
    check_part(model, one, 'a.pth', least=0.5)
    check_part(model, two, 'a.pth', least=1.0)
    with pytest.raises(InputError, match='is of another model: it has only 50 % of the weights of Sequential'):
        check_part(model, one, 'a.pth', least=0.6)


CFG = Config(
    dict(
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1, fused=True)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
            dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2], convert_to_iter_based=True),
        ],
    )
)


@pytest.fixture
def resumable(tmp_path):
    """A checkpoint as mmengine saves it, with weights averaged by its EMAHook."""
    model = make_model()
    wrapper = build_optim_wrapper(model, copy.deepcopy(CFG.optim_wrapper))
    settings = [{key: value for key, value in one.items() if 'convert' not in key} for one in CFG.param_scheduler]
    schedules = [PARAM_SCHEDULERS.build(one, default_args=dict(optimizer=wrapper)) for one in settings]
    wrapper.update_params(model(torch.rand(4, 3)).sum())
    content = dict(
        meta=dict(epoch=1, iter=4, seed=0),
        state_dict=model.state_dict(),
        ema_state_dict={'steps': torch.tensor(1)} | {f'module.{k}': v for k, v in model.state_dict().items()},
        optimizer=wrapper.state_dict(),
        param_schedulers=[one.state_dict() for one in schedules],
        message_hub=dict(
            log_scalars=dict(loss=HistoryBuffer([1.0], [1])),
            runtime_info=dict(epoch=1, keep_ckpt_ids=[1], best_ckpt='/run/best_loss.pth', best_score=np.float64(0.5)),
            resumed_keys=dict(loss=True),
        ),
        log=('20260101_000000/vis_data/scalars.json', 100),
    )
    torch.save(content, tmp_path / 'a.pth')
    return load_checkpoint(str(tmp_path / 'a.pth'))


def test_what_mmengine_saves_can_be_resumed(resumable):
    check_resumable(resumable, 'a.pth', CFG, make_model())
    for optional in ('optimizer', 'param_schedulers', 'ema_state_dict', 'log'):
        del resumable[optional]
        check_resumable(resumable, 'a.pth', CFG, make_model())


def put(content, place, value):
    *parts, last = place.split('.')
    for part in parts:
        content = content[int(part) if part.isdecimal() else part]
    content[int(last) if last.isdecimal() else last] = value


JUNK_STATES = {
    'meta.epoch': [None, -1, '3'],
    'meta.iter': [None],
    'meta.seed': [-1, '3', 2**32],
    'message_hub': [None, 3, [], dict(log_scalars={})],
    'message_hub.runtime_info': [3],
    'message_hub.runtime_info.epoch': ['3', -1],
    'message_hub.runtime_info.keep_ckpt_ids': [3, ['../../x'], [-1]],
    'message_hub.runtime_info.best_score': ['high', [1]],
    'message_hub.runtime_info.best_ckpt': [3, ['a']],
    'ema_state_dict': [3, {}.keys, {'module.body.weight': 3}, {'module.body.weight': torch.ones(1)},
                       {'module.body.bias': torch.full((4,), torch.nan)}],
    'optimizer': [None, 3, [], {}, dict(state={}, param_groups=[]), dict(state={}, param_groups=3)],
    'optimizer.state': [3, {0: 3}, {0: dict(step=1)}, {0: dict(step='a', exp_avg='b', exp_avg_sq='c')}],
    'optimizer.state.0.exp_avg': [torch.ones(2), torch.ones(12), torch.ones(7, 7), torch.full((4, 3), torch.nan), None],
    'optimizer.state.0.max_exp_avg_sq': [torch.ones(2)],  # which amsgrad would use
    'optimizer.param_groups.0.betas': [0.9, ('a', 'b'), None],
    'optimizer.param_groups.0.lr': ['0.1', None, float('nan')],
    'param_schedulers': [None, 3, [3], dict(a=1)],
    'param_schedulers.0': [dict(step=3), dict(optimizer=3)],
    'param_schedulers.1.milestones': [3, None],
    'param_schedulers.0.last_step': ['a', [1]],
    'log': [3, 'scalars.json', ('a/vis_data/scalars.json',), ('a/vis_data/scalars.json', -1), (3, 3),
            ('a/vis_data/scalars.json', '3'), ('/etc/passwd', 200), ('../other/a/vis_data/scalars.json', 9),
            ('/run/a/vis_data/scalars.json', 9), ('a/../../vis_data/scalars.json', 9), ('a/run.json', 9), ('\0', 9)],
}  # fmt: skip


@pytest.mark.parametrize(
    ('place', 'value'), [(place, value) for place, values in JUNK_STATES.items() for value in values]
)
def test_junk_in_a_state_is_named_before_anything_is_resumed(resumable, place, value):
    put(resumable, place, value)
    with pytest.raises(
        InputError, match=rf'cannot be resumed from checkpoint a.pth: its entry {place.split(".")[0]}'
    ) as e:
        check_resumable(resumable, 'a.pth', CFG, make_model())
    assert len(str(e.value).splitlines()) == 1


def test_optimizer_that_needs_another_device_is_not_tried(resumable, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, 'step', lambda *_: 1 / 0)
    check_resumable(resumable, 'a.pth', CFG, make_model())
