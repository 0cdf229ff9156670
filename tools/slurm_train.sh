#!/usr/bin/env bash
# Train on a Slurm cluster, as mmdet's tool of this name does, on GPUs or, with GPUS_PER_NODE=0, on CPUs.
set -euo pipefail

if (($# < 4)); then
    cat >&2 <<USAGE
usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]

GPUS is the number of processes, GPUS_PER_NODE how many of them, and of GPUs, a machine gets; GPUS_PER_NODE=0 asks for no
GPU. Checkout, environment, data and WORK_DIR must be where every machine finds them.

example: GPUS=16 $0 gpu fnoise configs/fnoise.py work_dirs/fnoise --cfg-options auto_scale_lr.enable=True
USAGE
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
WORK_DIR=$4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
CPUS_PER_TASK=${CPUS_PER_TASK:-5}

PLACES=()
if ((GPUS_PER_NODE > 0)); then
    # A job smaller than a machine asks for what it needs.
    EACH=$((GPUS < GPUS_PER_NODE ? GPUS : GPUS_PER_NODE))
    PLACES=(--gres="gpu:$EACH" --ntasks-per-node="$EACH")
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$CPUS_PER_TASK}
# Unquoted on purpose: SRUN_ARGS holds several words.
# shellcheck disable=SC2086
exec srun \
    --partition="$PARTITION" \
    --job-name="$JOB_NAME" \
    --ntasks="$GPUS" \
    "${PLACES[@]}" \
    --cpus-per-task="$CPUS_PER_TASK" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$CONFIG" --work-dir="$WORK_DIR" --launcher=slurm "${@:5}"
