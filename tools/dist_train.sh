#!/usr/bin/env bash
# Train with several processes, as mmdet's tool of this name does, on GPUs or, where there are none, on CPUs.
set -euo pipefail

if (($# < 2)); then
    cat >&2 <<USAGE
usage: [NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500] $0 CONFIG GPUS [options of tools/train.py]

GPUS is the number of processes on each machine: one per GPU, or any number on machines without a GPU. On several
machines, run the same command on each, with NNODES, the address of the first one, and NODE_RANK from 0.

example: $0 configs/fnoise.py 8 --work-dir work_dirs/fnoise --cfg-options auto_scale_lr.enable=True
USAGE
    exit 2
fi
CONFIG=$1
GPUS=$2
if ! [[ $GPUS =~ ^[1-9][0-9]*$ ]]; then
    echo "error: GPUS must be a number of processes, but got $GPUS" >&2
    exit 2
fi

# torchrun would give each process one thread, which leaves cores of a CPU idle.
SHARE=$(($(nproc) / GPUS))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((SHARE > 0 ? SHARE : 1))}
exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$GPUS" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"
