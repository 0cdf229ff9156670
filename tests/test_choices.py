from fnoise_mmdet import choices
from fnoise_mmdet.config import NOISE_CONFIGS
from fnoise_mmdet.datasets.shapes import STYLES
from fnoise_mmdet.evaluation.corruption import CORRUPTIONS
from fnoise_mmdet.evaluation.deployment import ANALOG
from fnoise_mmdet.noise import PRESETS
from fnoise_mmdet.noise.rounding import FORMATS


def test_choices_are_what_there_is():
    assert tuple(PRESETS) == choices.PRESETS and tuple(NOISE_CONFIGS) == choices.NOISES
    assert {group: tuple(names) for group, names in CORRUPTIONS.items()} == choices.CORRUPTIONS
    assert tuple(STYLES) == choices.STYLES
    assert tuple(FORMATS) == choices.FORMATS and tuple(ANALOG) == choices.ANALOG
