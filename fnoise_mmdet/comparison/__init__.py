"""Read the logs of runs and compare conditions."""

from .charts import Chart, ChartGroup, Line, chart_groups
from .compare import Comparison, Difference, compare
from .conditions import Condition, changed_settings, find_groups, read_conditions, settings_of
from .intervals import Interval
from .measures import Measure
from .plots import colour, plot_charts
from .runs import Run, is_run, read_run
from .scales import ScalePoint, ScaleSeries, scale_series
from .verdict import verdict

__all__ = [
    'Chart',
    'ChartGroup',
    'Comparison',
    'Condition',
    'Difference',
    'Interval',
    'Line',
    'Measure',
    'Run',
    'ScalePoint',
    'ScaleSeries',
    'changed_settings',
    'chart_groups',
    'colour',
    'compare',
    'find_groups',
    'is_run',
    'plot_charts',
    'read_conditions',
    'read_run',
    'scale_series',
    'settings_of',
    'verdict',
]
