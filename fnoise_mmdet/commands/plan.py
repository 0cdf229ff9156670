"""Estimate the cost of a study before it is started: GPU hours, days, disk."""

import argparse

from ..cli.plan import MARK
from ..config import load_config, use_data_root
from ..studies.cost import Estimate, measured_step, study_cost
from .output import put_between, terminal


def main(args: argparse.Namespace) -> None:
    """Run the command."""
    cfg = load_config(args.config, args.cfg_options)
    if args.data_root:
        use_data_root(cfg, args.data_root, required=('train', 'val'))
    step = Estimate(args.step_seconds, '--step-seconds') if args.step_seconds else None
    if args.benchmark:
        step = measured_step(args.benchmark, args.config, args.cfg_options, 'cct')
    cost = study_cost(cfg, args.scale, args.num_seeds, step, args.images, args.val_images)
    figures, times = cost.tables(args.gpus)
    if args.into:
        put_between(args.into, MARK, f'{times.markdown()}\n\n{figures.markdown()}')
    else:
        console = terminal()
        console.print(figures.terminal(), times.terminal(), sep='\n')
