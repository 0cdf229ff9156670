"""Create a virtual environment for training, evaluation and tests.

Uses only the standard library, since nothing else is installed yet. Steps whose
result exists are skipped.
"""

from __future__ import annotations  # so that an older Python reaches the version check

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple


class Environment(NamedTuple):
    """A virtual environment and its requirements."""

    folder: Path
    requirements: Path

    @property
    def python(self) -> Path:
        return self.folder / 'bin' / 'python'

    @property
    def log(self) -> Path:
        return self.folder / 'setup.log'


ROOT = Path(__file__).resolve().parents[2]
MAINTAINED = Environment(ROOT / '.venv', ROOT / 'requirements.txt')
UPSTREAM = Environment(ROOT / '.venv-upstream', ROOT / 'requirements-upstream.txt')
OLDEST, NEWEST = (3, 10), (3, 12)
# Build dependencies of mmcv and mmdet, which are source distributions.
BUILD_TOOLS = ['pip>=24', 'setuptools>=77,<81', 'wheel', 'ninja', 'psutil']
TEST_TOOLS = [
    'pytest>=8,<10', 'pytest-xdist>=3.6,<4', 'hypothesis>=6.100,<7', 'ruff>=0.17,<0.18', 'mypy>=2.4,<2.5',
    'onnx>=1.17,<2', 'onnxscript>=0.5,<1', 'playwright>=1.45,<2', 'axe-playwright-python>=0.1.4,<1',
    'nbclient>=0.10,<1', 'ipykernel>=6,<8',
]  # fmt: skip
# The original model that the backbone of the photos configs is tested against.
ORIGINAL_MODEL = 'efficientnet-lite-pytorch'
# Its interpreter runs the kernels of a GPU anywhere. Beside it, a torch as old as the upstream ones compiles nothing.
TRITON = "triton>=3.3,<4; sys_platform == 'linux'"
# setuptools takes CFLAGS in the place of Python's own flags, so optimization has to be asked for. Without
# debug symbols the operators build faster, into a wheel a fifteenth as large.
COMPILE = '-O2 -DNDEBUG -g0'
# Whatever else pip may have to build gets the same flags, also C, for which this is empty.
TORCH_HEADER = """\
#ifdef __clang__
#error clang refuses a precompiled header that does not fit, where GCC reads the original
#endif
#if defined __cplusplus && __has_include(<torch/types.h>)
#include <torch/types.h>
#endif
"""


def fail(message: str) -> None:
    sys.exit(f'error: {message}')


def check_machine() -> None:
    """Check prerequisites that pip cannot install: Python, its headers, and a compiler."""
    version = sys.version_info[:2]
    wanted = f'{".".join(map(str, OLDEST))} to {".".join(map(str, NEWEST))}'
    if not OLDEST <= version <= NEWEST:
        fail(
            f'Python {wanted} is needed, but {sys.executable} is {".".join(map(str, version))}; '
            'use another one, e.g. make PYTHON=python3.11 demo'
        )
    compiler = os.environ.get('CXX', 'c++').split()[0]
    if not shutil.which(compiler):
        fail(
            f"a C++ compiler is needed to build mmcv's operators, and {compiler!r} was not found; "
            'install one (Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; macOS: '
            'xcode-select --install) or set it with CXX=...'
        )
    if not Path(sysconfig.get_paths()['include'], 'Python.h').is_file():
        fail(
            f"the headers of Python {version[0]}.{version[1]} are needed to build mmcv's operators, and Python.h was "
            f'not found; install them (Debian, Ubuntu: apt-get install python{version[0]}.{version[1]}-dev)'
        )


def run_step(message: str, *command: str | Path, log: Path, advice: str, env: dict[str, str] | None = None) -> None:
    """Run a step with its output in the log, and print the elapsed time every half minute."""
    print(f'{message} ...', flush=True)
    start = time.monotonic()
    with log.open('ab') as file:
        file.write(f'\n$ {" ".join(map(str, command))}\n'.encode())
        file.flush()
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=file, stderr=file, env=env)
        while True:
            try:
                status = process.wait(timeout=30)
                break
            except subprocess.TimeoutExpired:
                print(f'    {time.monotonic() - start:4.0f} s', flush=True)
            except BaseException:
                process.kill()
                raise
    if status:
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-15:])
        fail(f'this step failed: {advice}\nThe end of {log}:\n{tail}')
    print(f'    done in {time.monotonic() - start:.0f} s', flush=True)


def torch_requirement(requirements: Path) -> str:
    return re.findall(r'^torch\b.*$', requirements.read_text(encoding='utf-8'), flags=re.MULTILINE)[0]


def mmcv_is_built(venv: Environment) -> bool:
    """Return whether mmcv is installed or in pip's cache."""
    name = re.findall(r'^[\w-]*mmcv', venv.requirements.read_text(encoding='utf-8'), flags=re.MULTILINE)[0]
    wheels = f'{name.replace("-", "_")}-*-cp{sys.version_info[0]}{sys.version_info[1]}-*'
    cached = subprocess.run(
        [venv.python, '-m', 'pip', 'cache', 'list', '--format=abspath', wheels],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ).stdout.strip()  # fmt: skip
    return bool(cached) or any(venv.folder.glob('lib/*/site-packages/mmcv'))


def precompile_torch(venv: Environment, folder: Path, cflags: str) -> str:
    """Precompile torch's headers, which dominate the compilation of mmcv's operators.

    Returns the compiler flag to use them, empty if the compiler does not support it.
    """
    print("precompiling torch's headers ...", flush=True)
    header = folder / 'torch.h'
    header.write_text(TORCH_HEADER)
    include = next(venv.folder.glob('lib/*/site-packages/torch/include'), folder)
    # As torch.utils.cpp_extension compiles, or GCC does not use it.
    command = [
        *shlex.split(os.environ.get('CXX', 'c++')), *shlex.split(cflags), '-fPIC', '-std=c++17',
        '-DTORCH_API_INCLUDE_EXTENSION_H', '-DTORCH_EXTENSION_NAME=_ext',
        '-I', include, '-I', include / 'torch/csrc/api/include',
        '-x', 'c++-header', header, '-o', folder / 'torch.h.gch',
    ]  # fmt: skip
    with venv.log.open('ab') as log:
        done = subprocess.run(command, stdout=log, stderr=log).returncode == 0
    return f'-include {shlex.quote(str(header))}' if done else ''


def make_venv(venv: Environment) -> None:
    if not venv.python.exists():
        print(f'creating {venv.folder} with {sys.executable}', flush=True)
        if subprocess.run([sys.executable, '-m', 'venv', venv.folder]).returncode:
            shutil.rmtree(venv.folder, ignore_errors=True)
            fail(
                "the virtual environment could not be made: Python's venv module is not complete "
                f'(Debian, Ubuntu: apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv)'
            )
    step = partial(run_step, log=venv.log)
    pip: list[str | Path] = [venv.python, '-m', 'pip', 'install', '--disable-pip-version-check']
    network = 'check the network and the free disk space'
    step(
        'build tools and torch: 1 to 5 minutes, by network',
        *pip, *BUILD_TOOLS, torch_requirement(venv.requirements), advice=network,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=venv.folder) as folder:
        flags = {name: f'{COMPILE} {os.environ.get(name, "")}'.strip() for name in ('CFLAGS', 'CXXFLAGS')}
        if not mmcv_is_built(venv):
            use = precompile_torch(venv, Path(folder), flags['CFLAGS'])  # with ninja, torch hands these to C++
            flags = {name: f'{value} {use}'.strip() for name, value in flags.items()}
        step(
            'mmdet and mmcv, whose C++ operators are compiled: 3 to 10 minutes; seconds where pip has them cached',
            *pip, '--no-build-isolation', '-r', venv.requirements,
            advice=f"if mmcv did not build, the compiler's message is in {venv.log}",
            env={**os.environ, **flags, 'MAX_JOBS': os.environ.get('MAX_JOBS', str(os.cpu_count() or 1))},
        )  # fmt: skip
    others, extras = ([], 'sweep') if venv == UPSTREAM else ([TRITON, ORIGINAL_MODEL], 'sweep,photos')
    step('test tools', *pip, *TEST_TOOLS, *others, advice=network)
    step(
        'fnoise_mmdet itself, with its extras',
        # torch again, so that a torchvision is taken that fits it.
        *pip, '--no-build-isolation', '-e', f'{ROOT}[{extras}]', torch_requirement(venv.requirements),
        advice=f'see {venv.log}',
    )  # fmt: skip


def check_venv(venv: Environment) -> None:
    """Check that the packages can be imported, as mmcv may silently install without its operators."""
    checks = {
        'cv2': 'OpenCV cannot be loaded: install the library it names (Debian, Ubuntu: apt-get install libgl1 '
        'libglib2.0-0)',
        'mmcv._ext': 'mmcv was installed without its compiled operators: uninstall it with pip, remove it from '
        f'the cache with `{venv.python} -m pip cache remove "*mmcv*"`, and rerun make',
        'mmdet.apis': 'mmdet cannot be imported',
        'fnoise_mmdet': 'fnoise_mmdet cannot be imported',
    }
    for module, advice in checks.items():
        # mmcv._ext links against torch's libraries, which importing torch loads.
        result = subprocess.run(
            [venv.python, '-c', f'import torch, importlib; importlib.import_module({module!r})'],
            capture_output=True, text=True,
        )  # fmt: skip
        if result.returncode:
            fail(f'{advice}\n{result.stderr.strip().splitlines()[-1]}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--upstream',
        action='store_true',
        help='create .venv-upstream, with the original distributions of mmengine, mmcv and mmdet, instead of .venv',
    )
    venv = UPSTREAM if parser.parse_args().upstream else MAINTAINED
    if venv.python.exists() and Path(sys.prefix).resolve() != venv.folder.resolve():
        os.execv(venv.python, [str(venv.python), *sys.argv])  # what is there already decides which Python counts
    check_machine()
    start = time.monotonic()
    make_venv(venv)
    check_venv(venv)
    print(f'{venv.folder} is ready, after {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
