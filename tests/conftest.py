"""What several tests share: a small data set, and a small training on it."""

import gc
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Many tests compare trainings to the last bit, and a GPU adds up in another order each time; `make test-gpu` is for it.
if 'FNOISE_TEST_GPU' not in os.environ:
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    os.environ['TRITON_INTERPRET'] = '1'  # read when Triton is first imported, by whichever test

import plain_configs  # noqa: F401
import torch
from coco_mirror import Mirror, make_mirror
from hostile_images import make_hostile_images
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from running import SMALL, Tool, make_tool

from fnoise_mmdet.config import add_fnoise, noise_settings, use_data_root
from fnoise_mmdet.datasets import make_shapes

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that ``make fuzz`` sets."""
    parser.addoption('--full', action='store_true', help='run fuzzers and hostile corpora at full size (make fuzz)')


@pytest.fixture(scope='session')
def fuzz_size(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Return how many inputs to try: the first number by default, the second one in ``make fuzz``."""
    return lambda short, full: full if request.config.getoption('--full') else short


@pytest.fixture
def fuzz_report(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Add a line with a result to the summary at the end of the tests."""
    return lambda line: record_property('fuzz', line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the fuzzers and hostile corpora have reported."""
    lines = [
        value
        for report in terminalreporter.getreports('passed') + terminalreporter.getreports('failed')
        for name, value in report.user_properties
        if name == 'fuzz' and report.when == 'call'
    ]
    if lines:
        terminalreporter.section('fuzzers and hostile corpora')
        for line in lines:
            terminalreporter.write_line(line)


def pytest_collection_finish() -> None:
    """Exclude what is imported from the garbage collection that mmengine starts for each data set."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Include it again, for libraries that report what is left at the end."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where none is to be seen, and run what shares trainings in one process."""
    for item in items:
        if not any(map(item.get_closest_marker, ('xdist_group', 'slow'))):
            group = 'runs' if 'runs' in getattr(item, 'fixturenames', ()) else str(item.path)
            item.add_marker(pytest.mark.xdist_group(group))
        if item.get_closest_marker('gpu') and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason='needs a GPU, see make test-gpu'))


@pytest.fixture(scope='session')
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope='session')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small embedded data set."""
    out = tmp_path_factory.mktemp('data') / 'shapes'
    make_shapes(out, num_train=16, num_val=4, num_test=2, size=64)
    return out


@pytest.fixture(scope='session')
def hostile(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images as they come, and as nobody should be sent them."""
    return make_hostile_images(shapes / 'test/000001.png', tmp_path_factory.mktemp('hostile') / 'images')


@pytest.fixture(scope='session')
def tool(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Run a command line of the checkout, see :func:`commands.make_tool`."""
    return make_tool(tmp_path_factory.mktemp)


@pytest.fixture(scope='session')
def small() -> list[str]:
    """Options that make a training small."""
    return SMALL


@pytest.fixture
def mmlog(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Capture what is logged to mmengine's current logger, which is the last one that any test has used."""
    logger = logging.getLogger('current')
    logger.setLevel('WARNING')
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    return caplog


@pytest.fixture
def mirror(shapes: Path, tmp_path: Path) -> Iterator[Mirror]:
    """A server of the small data set, in the layout of COCO's."""
    with Mirror(make_mirror(shapes, tmp_path / 'mirror')) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def train(shapes: Path, tmp_path: Path) -> Callable[..., Runner]:
    """Train a config of the checkout for a few iterations on the small data set, without pictures."""

    def run(config: str, name: str = 'run', fnoise: str | None = None, **options: Any) -> Runner:
        torch.set_num_threads(1)  # the sums of several threads are not repeated to the last bit on every machine
        cfg = Config.fromfile(ROOT / 'configs' / config)
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'FeatureMapHook']
        if fnoise:
            add_fnoise(cfg, **noise_settings(fnoise))
        cfg.merge_from_dict(
            {
                'train_dataloader.batch_size': 4,
                'train_dataloader.num_workers': 0,
                'train_dataloader.persistent_workers': False,
                'val_dataloader.num_workers': 0,
                'val_dataloader.persistent_workers': False,
                'train_cfg.max_epochs': 1,
                'train_cfg.val_interval': 1,
                'default_hooks.logger.interval': 1,
                'log_processor.window_size': 1,
                'log_level': 'ERROR',
                'visualizer.name': f'{tmp_path}_{name}',  # mmengine keeps visualizers by name
                'experiment_name': f'{tmp_path.name}_{name}',
                **options,
            }
        )
        use_data_root(cfg, str(shapes), required=('train', 'val'))
        cfg.work_dir = str(tmp_path / name)
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return run


@pytest.fixture
def read_rows() -> Callable[[Runner], list[dict[str, Any]]]:
    """Read what a training has logged."""

    def read(runner: Runner) -> list[dict[str, Any]]:
        text = (Path(runner.log_dir) / 'vis_data' / 'scalars.json').read_text()
        return [json.loads(line) for line in text.splitlines()]

    return read
