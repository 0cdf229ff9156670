import http.server
import json
import threading
import time
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from fnoise_mmdet.engine.preflight import (
    check_checkpoint,
    check_pretrained,
    check_training,
)
from fnoise_mmdet.errors import InputError


@pytest.fixture
def server(tmp_path):
    """A server on this machine that has one file."""
    torch.save(dict(weight=torch.rand(8, 3, 7, 7)), tmp_path / 'weights.pth')
    (tmp_path / 'hostile.pth').write_bytes(b'weights')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch's download cache."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub/checkpoints'


def check_init_cfg(cfg, checkpoint):
    """Check a checkpoint as that of the backbone of a small model."""
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    check_pretrained(cfg, torch.nn.Conv2d(3, 8, 7))


@pytest.mark.parametrize(('depth', 'share'), [(50, 41), (101, None)])
def test_weights_of_another_backbone_are_refused(tmp_path, depth, share):
    """A ResNet-101 may start from the weights of a ResNet-50, but a ResNet-50 not from those of a ResNet-18."""
    path = str(tmp_path / 'weights.pth')
    torch.save(MODELS.build(dict(type='mmdet.ResNet', depth=18 if share else 50)).state_dict(), path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    cfg = Config(dict(model=dict(backbone=dict(type='mmdet.ResNet', depth=depth, init_cfg=init_cfg))))
    model = torch.nn.ModuleDict(dict(backbone=MODELS.build(cfg.model.backbone)))
    if share is None:
        check_pretrained(cfg, model)
        return
    with pytest.raises(InputError, match=f'is of another model: it has only {share} % .* of ResNet .*checkpoint=FILE'):
        check_pretrained(cfg, model)


def test_weights_that_can_be_downloaded_pass(cfg, server, cache):
    check_init_cfg(cfg, f'{server}/weights.pth')
    assert (cache / 'weights.pth').is_file()


def test_what_is_downloaded_and_cannot_be_used_does_not_stay(cfg, server, cache):
    with pytest.raises(InputError, match='hostile.pth cannot be read.*init_cfg.checkpoint=FILE'):
        check_init_cfg(cfg, f'{server}/hostile.pth')
    assert not list(cache.iterdir())


@pytest.mark.parametrize('name', ['http://127.0.0.1:1/w.pth', 'http://no-such-host.invalid/w.pth'])
def test_missing_network_is_reported_in_seconds_with_remedies(cfg, cache, name):
    start = time.monotonic()
    with pytest.raises(InputError, match=r'cannot be downloaded .*init_cfg.checkpoint=FILE.*--from-scratch'):
        check_init_cfg(cfg, name)
    assert time.monotonic() - start < 15


def test_missing_page_is_reported(cfg, server, cache):
    with pytest.raises(InputError, match='other.pth cannot be downloaded'):
        check_init_cfg(cfg, f'{server}/other.pth')


def test_cached_weights_need_no_network(cfg, cache):
    cache.mkdir(parents=True)
    torch.save(dict(weight=torch.rand(8, 3, 7, 7)), cache / 'w.pth')
    check_init_cfg(cfg, 'http://127.0.0.1:1/w.pth')


def test_local_weights(cfg, tmp_path):
    torch.save(dict(weight=torch.rand(8, 3, 7, 7)), tmp_path / 'w.pth')
    check_init_cfg(cfg, str(tmp_path / 'w.pth'))
    torch.save(dict(weight=torch.rand(1)), tmp_path / 'w.pth')
    with pytest.raises(InputError, match='w.pth fits no part of the model'):
        check_init_cfg(cfg, str(tmp_path / 'w.pth'))
    with pytest.raises(InputError, match='nowhere.pth is not a file'):
        check_init_cfg(cfg, 'nowhere.pth')


@pytest.mark.parametrize('resume', [False, True])
@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('nowhere.pth', 'nowhere.pth is not a file'),
        ('empty.pth', 'empty.pth cannot be read: it is empty'),
        ('other.pth', 'other.pth does not fit the config'),
        ('http://127.0.0.1:1/w.pth', 'w.pth cannot be downloaded'),
    ],
)
def test_load_from_is_checked_with_all_else(cfg, tmp_path, cache, monkeypatch, resume, path, message):
    monkeypatch.chdir(tmp_path)
    Path('empty.pth').touch()
    torch.save(dict(state_dict=dict(other=torch.rand(1))), 'other.pth')
    cfg.load_from, cfg.resume = path, resume
    cfg.merge_from_dict({'custom_hooks.1.interval': 0})
    with pytest.raises(InputError, match=message) as raised:
        check_training(cfg)
    assert 'interval must be >= 1' in str(raised.value)
    assert {one.name for one in tmp_path.iterdir()} <= {'data', 'empty.pth', 'other.pth', 'hub'}


def test_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, meta=dict(dataset_meta=dict(classes=('cat', 'dog')))), path)
    assert check_checkpoint(str(path), ('cat', 'dog'))['dataset_meta']
    with pytest.raises(InputError, match=r'trained on 2 classes \(cat, dog...\), but the data has 1 \(cat...\)'):
        check_checkpoint(str(path), ('cat',))
    with pytest.raises(InputError, match=r'in another order, .*: \(cat, dog\), but the data has \(dog, cat\)'):
        check_checkpoint(str(path), ('dog', 'cat'))
    with pytest.raises(InputError, match='nowhere.pth is not a file'):
        check_checkpoint('nowhere.pth')
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match='a.pth cannot be read'):
        check_checkpoint(str(path))
    path.write_text(json.dumps([]))
    with pytest.raises(InputError, match='a.pth cannot be read'):
        check_checkpoint(str(path))
