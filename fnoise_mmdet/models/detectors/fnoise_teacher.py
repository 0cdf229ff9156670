"""Consistency training under feature noise with a mean teacher."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmdet.models.detectors import SemiBaseDetector
from mmdet.models.roi_heads import PointRendRoIHead
from mmdet.models.utils import filter_gt_instances, rename_loss_dict, reweight_loss_dict
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_project
from mmengine.config import ConfigDict
from mmengine.dist import broadcast
from torch import Tensor

from ...errors import InputError
from ...noise import AdversarialNoise
from ...noise.base import in_range
from ...noise.schedule import check_schedule, schedule_factor
from ..layers import OutputNoise, find_noise_layers, run_info
from .pseudo_masks import bitmap_masks, project_masks, view_homography
from .soft_targets import check_soft_targets, predict_soft, soft_losses

STREAMS = ('sup', 'unsup_feature', 'unsup_student')
TARGETS = ('hard', 'soft')
DEFAULTS: dict[str, Any] = dict(
    sup_weight=1.0,
    feature_weight=1.0,
    unsup_weight=1.0,
    ramp_up=None,
    targets='hard',
    proposals=128,
    cls_pseudo_thr=0.7,
    min_pseudo_bbox_wh=(1e-2, 1e-2),
    noise_on=('unsup_feature',),
    views=1,
    antithetic=False,
    freeze_teacher=True,
)


@MODELS.register_module()
class FNoiseTeacher(SemiBaseDetector):
    """Train a detector on images without labels: predictions from noisy features must agree with the teacher's.

    The teacher is the exponential average of the student's weights
    (``MeanTeacherHook``) and sees clean features. What it detects in the weakly
    augmented view of an unlabelled image is the target of two streams:

    - ``unsup_feature``: the student sees the same view, with noise on its
      features. Boxes and masks need no projection, so every detector whose loss
      takes boxes (and masks) can be trained.
    - ``unsup_student``, if the data have such a view: the student sees a
      strongly augmented view, as in mmdet's ``SoftTeacher``.

    With several processes, the teachers of all have the statistics of batch norm
    of rank 0, those of the checkpoint.

    Targets of ``unsup_feature`` are pseudo-labels (``'hard'``), or the teacher's
    predictions for its proposals (``'soft'``, closest to CCT), see
    :func:`~fnoise_mmdet.models.detectors.soft_targets.soft_losses`.

    Feature perturbation of the weak view follows UniMatch (Yang et al., CVPR
    2023, arXiv 2208.09910), F-Noise CCT (Ouali et al., CVPR 2020, arXiv
    2003.09005), the mean teacher Tarvainen and Valpola (NeurIPS 2017, arXiv
    1703.01780).

    Args:
        detector: Config of the detector. With an ``FNoiseNeck`` its features
            are perturbed, without one it is a plain mean teacher.
        semi_train_cfg: Settings of the training:

            - ``sup_weight``, ``feature_weight``, ``unsup_weight``: weights of
              the streams' losses. Unlabelled streams of weight 0 are not
              computed. Default to 1.
            - ``ramp_up``: schedule of the last two, as the arguments of
              :func:`fnoise_mmdet.noise.schedule_factor`, such as
              ``dict(schedule='linear', end=100)`` with steps in iterations.
              Defaults to None, which is constant.
            - ``targets``: ``'hard'`` or ``'soft'``. Defaults to ``'hard'``.
            - ``proposals``: maximum number per image that soft targets compare. Defaults to 128.
            - ``cls_pseudo_thr``: score threshold; detections with a higher
              score are pseudo-labels. Defaults to 0.7.
            - ``min_pseudo_bbox_wh``: least width and height of its box in pixels.
            - ``noise_on``: streams whose features are perturbed, of ``'sup'``,
              ``'unsup_feature'`` and ``'unsup_student'``. Defaults to
              ``('unsup_feature',)``, as published.
            - ``views``: passes of ``unsup_feature`` with noise of their own,
              whose losses are averaged. Defaults to 1.
            - ``antithetic``: whether every second of them has the opposite of
              the noise of the one before: -n for F-Noise n, and for
              ``ChannelDropout`` the channels that were dropped, which is the
              complementary dropout of UniMatch V2. Defaults to False.
            - ``freeze_teacher``: whether no gradient reaches the teacher, as in
              mmdet. Defaults to True.
        semi_test_cfg: ``predict_on``: ``'teacher'`` or ``'student'``.
        data_preprocessor: Config of a ``MultiBranchDataPreprocessor``.
        init_cfg: Initial weights.

    Shape:
        Inputs: dict of streams ``sup``, ``unsup_teacher`` and, optionally, ``unsup_student``, each (B, 3, H, W).

    Raises:
        InputError: If noise is inside a block with gradient checkpointing, or
            adversarial noise anywhere in a backbone with it, or PointRend has
            hard targets.
        ValueError: If a setting is unknown or out of range, the noise has no
            opposite for ``antithetic``, or the detector has no soft targets.
    """

    def __init__(
        self,
        detector: dict[str, Any],
        semi_train_cfg: dict[str, Any] | None = None,
        semi_test_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        settings = DEFAULTS | dict(semi_train_cfg or {})
        if unknown := settings.keys() - DEFAULTS.keys():
            raise ValueError(f'semi_train_cfg has no setting {min(unknown)}, but {", ".join(DEFAULTS)}')
        if unknown := set(settings['noise_on']) - set(STREAMS):
            raise ValueError(f'noise_on must be streams of {", ".join(STREAMS)}, but got {min(unknown)!r}')
        for name in ('views', 'proposals'):
            if type(settings[name]) is not int:
                raise ValueError(f'{name} must be a whole number, but got {settings[name]!r}')
        if settings['views'] < 1 or (settings['antithetic'] and settings['views'] % 2):
            raise ValueError(f'views must be >= 1, and even if antithetic, but got {settings["views"]}')
        if settings['targets'] not in TARGETS:
            raise ValueError(f'targets must be one of {", ".join(TARGETS)}, but got {settings["targets"]!r}')
        if settings['proposals'] < 1:
            raise ValueError(f'proposals must be >= 1, but got {settings["proposals"]}')
        if settings['ramp_up'] is not None:
            _check_ramp_up(settings['ramp_up'])
        for name in ('sup_weight', 'feature_weight', 'unsup_weight'):
            in_range(name, settings[name], 0)
        in_range('cls_pseudo_thr', settings['cls_pseudo_thr'], 0, 1)
        # Instead of SemiBaseDetector's, which builds both from one config; some heads, such as DETR's, change it.
        super(SemiBaseDetector, self).__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.student, self.teacher = (MODELS.build(copy.deepcopy(detector)) for _ in range(2))
        self.semi_train_cfg, self.semi_test_cfg = ConfigDict(settings), ConfigDict(semi_test_cfg or {})
        if settings['freeze_teacher']:
            self.freeze(self.teacher)
        self._layers = find_noise_layers(self.student)
        if settings['antithetic'] and not all(layer.noise.has_opposite for layer in self._layers):
            raise ValueError(
                'antithetic needs FeatureNoise without bias or ChannelDropout: other noise has no opposite'
            )
        self._check_checkpointing()
        if settings['targets'] == 'soft':
            check_soft_targets(self.student)
        elif isinstance(getattr(self.student, 'roi_head', None), PointRendRoIHead):
            raise InputError('PointRend fails for a batch without pseudo-labels: set targets=soft')

    def loss(self, multi_batch_inputs: dict[str, Tensor], multi_batch_data_samples: dict[str, SampleList]) -> dict:
        """Return the losses of all streams, named by stream, and the number of pseudo-labels per image."""
        settings = self.semi_train_cfg
        with self._noise_for('sup'):
            losses = self.loss_by_gt_instances(multi_batch_inputs['sup'], multi_batch_data_samples['sup'])
        has_student_view = settings.unsup_weight > 0 and 'unsup_student' in multi_batch_inputs
        if not (settings.feature_weight > 0 or has_student_view):
            return losses

        inputs, samples = multi_batch_inputs['unsup_teacher'], multi_batch_data_samples['unsup_teacher']
        self.teacher.eval()
        for buffer in self.teacher.buffers():
            broadcast(buffer)
        factor = self._ramp_up()
        is_soft = settings.targets == 'soft'
        if has_student_view or not is_soft:
            labelled = self._label(inputs, samples)
            counts = inputs.new_tensor([len(sample.gt_instances) for sample in labelled])
            losses |= dict(pseudo_labels=counts.mean(), labelled_share=(counts > 0).float().mean())
        if settings.feature_weight > 0:
            weight = factor * settings.feature_weight
            if is_soft:
                soft = predict_soft(self.teacher, inputs, samples, settings.proposals)
                run = partial(soft_losses, self.student, inputs, soft)
            else:
                weight *= bool(counts.any())
                run = partial(self._hard_losses, inputs, labelled)
            with self._noise_for('unsup_feature'):
                losses |= self._loss_of_views(run, weight)
        if has_student_view:
            projected = self._project(labelled, multi_batch_data_samples['unsup_student'])
            weight = settings.unsup_weight if any(len(sample.gt_instances) for sample in projected) else 0.0
            with self._noise_for('unsup_student'):
                strong = self.student.loss(multi_batch_inputs['unsup_student'], projected)
            losses |= rename_loss_dict('unsup_', reweight_loss_dict(strong, factor * weight))
        return losses

    @property
    def noisy_branch(self) -> str:
        """First branch of the data whose features are perturbed, or that of labelled images."""
        settings = self.semi_train_cfg
        branches = dict(sup='sup')
        if settings.feature_weight > 0:
            branches['unsup_feature'] = 'unsup_teacher'
        if settings.unsup_weight > 0:
            branches['unsup_student'] = 'unsup_student'
        return next((branch for stream, branch in branches.items() if stream in settings.noise_on), 'sup')

    def _ramp_up(self) -> float:
        """Return the factor of the weights of unlabelled images in this iteration of the runner."""
        if self.semi_train_cfg.ramp_up is None:
            return 1.0
        return schedule_factor(step=run_info().iteration, **self.semi_train_cfg.ramp_up)

    def _check_checkpointing(self) -> None:
        """Check that noise goes along with gradient checkpointing of the backbone.

        Raises:
            InputError: If it is adversarial, or inside a module that is computed again in the backward pass, where
                the noise would be that of the last stream.
        """
        modules: dict[str, Any] = dict(self.student.named_modules())
        checkpointed = [name for name, module in modules.items() if getattr(module, 'with_cp', False)]
        blocks = [f'{name}.' for name in checkpointed if name != 'backbone']  # which passes the setting on to them
        of_backbone = any(name.startswith('backbone') for name in checkpointed)
        remedy = 'set with_cp=False in the backbone, or put the noise before the neck'
        for layer in self._layers:
            for place in layer.names if isinstance(layer, OutputNoise) else ():
                if isinstance(layer.noise, AdversarialNoise) and place.startswith('backbone.') and of_backbone:
                    raise InputError(
                        'AdversarialNoise inside the backbone needs gradients that gradient checkpointing does not '
                        f'give: {remedy}'
                    )
                if place.startswith(tuple(blocks)):
                    raise InputError(
                        f'noise at {place} is inside a block that gradient checkpointing computes again: {remedy}'
                    )

    def _loss_of_views(self, run: Callable[[], dict], weight: float) -> dict:
        """Return the mean losses of the passes with perturbed features."""
        views = self.semi_train_cfg.views
        losses: dict[str, Any] = {}
        for view in range(views):
            opposite = self.semi_train_cfg.antithetic and view % 2 == 1
            if weight:
                self._search_directions(run)
            with contextlib.ExitStack() as stack:
                for layer in self._layers:
                    if opposite:
                        stack.enter_context(layer.opposite())
                    else:
                        layer.start_view()
                found = reweight_loss_dict(run(), weight / views)
            for name, value in rename_loss_dict('feature_', found).items():
                if 'loss' not in name:  # such as the accuracy, which has no weight
                    value = value / views
                losses[name] = _add(losses[name], value) if name in losses else value
        return losses

    def _search_directions(self, run: Callable[[], dict]) -> None:
        """Find the directions of adversarial noise, by a pass that leaves no trace in statistics and random streams."""
        noises = [layer.noise for layer in self._layers if isinstance(layer.noise, AdversarialNoise)]
        if not any(noise.training and not noise.is_off for noise in noises):
            return
        with torch.random.fork_rng(), _kept_statistics(self.student), contextlib.ExitStack() as stack:
            finds = [stack.enter_context(noise.search()) for noise in noises]
            loss, _ = self.parse_losses(run())
            for find in finds:
                find(loss)

    def _hard_losses(self, inputs: Tensor, labelled: SampleList) -> dict:
        return self.student.loss(inputs, copy.deepcopy(labelled))  # which may change its samples

    @torch.no_grad()
    def _label(self, inputs: Tensor, samples: SampleList) -> SampleList:
        """Return samples with the detections of the teacher as labels, in the coordinates of the same view."""
        labelled, views = copy.deepcopy(samples), copy.deepcopy(samples)
        for view in views:  # as an image of its own: heads compute the size of masks from these
            view.set_metainfo(dict(ori_shape=view.img_shape[:2], scale_factor=(1.0, 1.0)))
        threshold = self.semi_train_cfg.cls_pseudo_thr
        with _score_threshold(self.teacher, threshold):
            results = self.teacher.predict(inputs, views, rescale=False)
        for sample, result in zip(labelled, results):
            found = result.pred_instances
            found = found[found.scores > threshold]
            if 'masks' in found:
                found.masks = bitmap_masks(found.masks, sample.img_shape)
                if len(found) and not found.bboxes.any():  # as of SOLO, which predicts masks alone
                    found.bboxes = found.masks.get_bboxes(dst_type='hbox').tensor.to(found.bboxes)
            sample.gt_instances = found
        return filter_gt_instances(labelled, wh_thr=self.semi_train_cfg.min_pseudo_bbox_wh)

    def _project(self, labelled: SampleList, samples: SampleList) -> SampleList:
        """Return samples of another view with the labels of the first one."""
        projected = copy.deepcopy(samples)
        for source, target in zip(labelled, projected):
            homography = view_homography(source, target)
            found = copy.deepcopy(source.gt_instances)
            matrix = torch.as_tensor(homography, dtype=torch.float32, device=found.bboxes.device)
            found.bboxes = bbox_project(found.bboxes, matrix, target.img_shape[:2])
            if 'masks' in found:
                found.masks = project_masks(found.masks, homography, target.img_shape)
            target.gt_instances = found
        return filter_gt_instances(projected, wh_thr=self.semi_train_cfg.min_pseudo_bbox_wh)

    @contextlib.contextmanager
    def _noise_for(self, stream: str) -> Iterator[None]:
        """Turn the noise of the student on or off for a stream."""
        for layer in self._layers:
            layer.noise.train(stream in self.semi_train_cfg.noise_on)
        try:
            yield
        finally:
            for layer in self._layers:
                layer.noise.train(layer.training)


@contextlib.contextmanager
def _kept_statistics(model: torch.nn.Module) -> Iterator[None]:
    """Do not update the running statistics of batch norm in the block."""
    tracking: list[Any] = [one for one in model.modules() if getattr(one, 'track_running_stats', False)]
    try:
        for one in tracking:
            one.track_running_stats = False
        yield
    finally:
        for one in tracking:
            one.track_running_stats = True


@contextlib.contextmanager
def _score_threshold(detector: torch.nn.Module, threshold: float) -> Iterator[None]:
    """Raise the score thresholds of a detector in the block.

    Suppression and limits keep high scores before low ones, so the detections above the threshold are the same, but no
    mask is computed of those below.
    """
    found: list[Any] = [part.test_cfg for part in detector.modules() if getattr(part, 'test_cfg', None)]
    configs = {id(config): config for config in found}
    before = {key: config.score_thr for key, config in configs.items() if 'score_thr' in config}
    for key, value in before.items():
        configs[key].score_thr = max(value, threshold)
    try:
        yield
    finally:
        for key, value in before.items():
            configs[key].score_thr = value


def _add(one: Any, other: Any) -> Any:
    """Add losses, which are tensors, or lists of them by level."""
    return [a + b for a, b in zip(one, other)] if isinstance(one, list | tuple) else one + other


def _check_ramp_up(ramp_up: dict[str, Any]) -> None:
    """Check the schedule of the unlabelled streams.

    Raises:
        ValueError: If an argument is unknown, missing or out of range.
    """
    try:
        check_schedule(**ramp_up)
        if ramp_up['schedule'] in ('linear', 'cosine') and ramp_up.get('end') is None:
            raise ValueError(f'end must be given for {ramp_up["schedule"]!r}')
    except (TypeError, ValueError) as error:
        message = f"ramp_up must be None or such as dict(schedule='linear', end=100), but got {ramp_up}: {error}"
        raise ValueError(message) from None
