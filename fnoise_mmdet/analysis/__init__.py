"""Reading runs and comparing them. Nothing here needs torch."""

from .compare import Comparison, compare_runs, mismatches
from .plots import plot_losses
from .runs import Run, read_run

__all__ = ['Comparison', 'Run', 'compare_runs', 'mismatches', 'plot_losses', 'read_run']
