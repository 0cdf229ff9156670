"""Distributed training, also on machines without a GPU."""

import atexit
import os
import subprocess
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import is_model_wrapper
from torch import nn

from ..errors import InputError

# Environment variables of each launcher: rank, world size, local rank.
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
STARTED_BY = {
    'pytorch': 'torchrun --nproc-per-node N -m fnoise_mmdet train ..., or in a checkout tools/dist_train.sh',
    'slurm': 'srun, or in a checkout tools/slurm_train.sh',
    'mpi': 'mpirun of Open MPI',
}
PORT = '29500'  # torch's, and mmengine's


def rank() -> int:
    """Return the rank of this process, 0 without launcher, before the process group is initialized."""
    ranks = (os.environ.get(name) for name, _, _ in VARIABLES.values())
    return int(next(filter(None, ranks), 0))


def world_size(launcher: str) -> int:
    """Return the world size, before the process group is initialized."""
    return 1 if launcher == 'none' else int(os.environ.get(VARIABLES[launcher][1]) or 1)


def is_main_process() -> bool:
    """Return whether this is rank 0, before the process group is initialized."""
    return rank() == 0


def check_launcher(launcher: str) -> None:
    """Check that the launcher started this process, and that there are enough GPUs, if any.

    Raises:
        InputError: If one of these does not hold.
    """
    if launcher == 'none':
        return
    missing = [name for name in VARIABLES[launcher][:2] if name not in os.environ]
    if missing:
        raise InputError(
            f'--launcher {launcher} is for processes that are started by {STARTED_BY[launcher]}: '
            f'{" and ".join(missing)} must be set in the environment'
        )
    gpus, place = torch.cuda.device_count(), int(os.environ.get(VARIABLES[launcher][2]) or 0)
    if gpus and place >= gpus:
        raise InputError(
            f'this machine has {gpus} GPUs, too few for process {place + 1} on it: start one process per GPU'
        )


def use_cpus(cfg: Config) -> None:
    """Initialize the process group with gloo if there is no GPU, and adapt the config, in place.

    mmengine initializes the group only with GPUs, and uses an existing one.
    With GPUs, or without a launcher, this does nothing.
    """
    if cfg.launcher == 'none' or get_device() != 'cpu':
        return
    for name, its in zip(VARIABLES['pytorch'], VARIABLES[cfg.launcher]):  # under torch's names
        os.environ[name] = os.environ.get(its, '0')
    os.environ.setdefault('MASTER_PORT', PORT)
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_node() if cfg.launcher == 'slurm' else '127.0.0.1'
    settings = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    timeout = settings.get('timeout')
    dist.init_process_group('gloo', timeout=timedelta(seconds=timeout) if timeout else None)
    atexit.register(_leave)
    # mmengine's default wrapper, but without device_ids, which DistributedDataParallel rejects on CPUs.
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}


def _leave() -> None:
    """Destroy the process group, whose threads may abort the process as it exits."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _first_node() -> str:
    """Return the first host of the Slurm job step."""
    nodes = os.environ.get('SLURM_STEP_NODELIST') or os.environ['SLURM_NODELIST']
    command = ['scontrol', 'show', 'hostnames', nodes]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise InputError(
            f'the first host of {nodes} cannot be found by {" ".join(command)}: {error}; set it with MASTER_ADDR'
        ) from error


def unwrapped(model: nn.Module) -> Any:
    """Return a model without its distributed wrapper, if it has one."""
    return model.module if is_model_wrapper(model) else model
