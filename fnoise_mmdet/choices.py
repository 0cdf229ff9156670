"""Names accepted by the command lines, without the slow imports of their implementations."""

# Commands of ``fnoise`` and their scripts in ``tools/``, as which their modules in ``cli`` and ``commands`` are named.
COMMANDS = {
    'train': 'train',
    'test': 'test',
    'infer': 'infer',
    'show': 'show_noise',
    'pair': 'run_pair',
    'sweep': 'sweep',
    'compare': 'compare',
    'robustness': 'robustness',
    'plan': 'plan',
    'publish': 'publish_model',
    'dataset sample': 'coco_sample',
    'dataset shapes': 'make_shapes',
    'dataset split': 'split_coco',
}
# Values of ``--fnoise``: presets of FeatureNoise, then classes.
PRESETS = ('cct', 'mean_normal', 'uniform_20', 'l2', 'channel_l2')
NOISES = (
    *PRESETS,
    'AntitheticNoise',
    'AdversarialNoise',
    'FDrop',
    'FeatureDropBlock',
    'ChannelDropout',
    'NormalizationPerturbation',
    'DSU',
    'MixStyle',
)
# Features that can be drawn, and reductions of their channels to one map.
SOURCES = ('noise', 'backbone', 'neck')
REDUCTIONS = ('strongest', 'mean', 'max', 'norm', 'pca', 'top_k')
# The common corruptions of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
# Perturbations", ICLR 2019, arXiv 1903.12261, by group.
CORRUPTIONS = {
    'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise'),
    'blur': ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    'weather': ('snow', 'frost', 'fog', 'brightness'),
    'digital': ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
}
SEVERITIES = (1, 2, 3, 4, 5)
# Number formats, and noise of analog hardware with its scales.
FORMATS = (
    'e4m3', 'e5m2', 'e2m1', 'power_of_two', 'int8', 'int6', 'int4', 'int8_channel', 'int6_channel', 'int4_channel',
)  # fmt: skip
ANALOG = ('additive', 'multiplicative')
ANALOG_SCALES = (0.05, 0.1, 0.2, 0.4)
# How the embedded data set is painted.
STYLES = ('textured', 'dark', 'outline')
COCO_URL = 'http://images.cocodataset.org'
