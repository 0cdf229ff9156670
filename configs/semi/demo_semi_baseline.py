# Images without labels: 64 labelled and 576 unlabelled ones of the embedded data, and a mean teacher without noise.
# Equal to what `--semi` makes of the demo's config. `make semi` writes the two files and trains it with and without
# F-Noise.
_base_ = '../demo_baseline.py'

model = dict(
    _delete_=True,
    type='FNoiseTeacher',
    detector=_base_.model,
    data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=_base_.model.data_preprocessor),
    semi_test_cfg=dict(predict_on='teacher'),
)

# Labelled images have one branch of the pipeline, unlabelled ones another, without annotations.
branches = ['sup', 'unsup_teacher']
load, annotations, *augmentation, pack = _base_.train_pipeline
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
weak = [*augmentation, dict(type='PackDetInputs', meta_keys=(*meta_keys, 'homography_matrix'))]
split = 'annotations/instances_train.1@64_images'
labelled = dict(
    _base_.train_dataloader.dataset,
    ann_file=f'{split}.json',
    pipeline=[load, annotations, *augmentation, dict(type='MultiBranch', branch_field=branches, sup=pack)],
)
unlabelled = dict(
    _base_.train_dataloader.dataset,
    ann_file=f'{split}-unlabeled.json',
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=[
        load,
        dict(type='LoadEmptyAnnotations', with_mask=True),
        dict(type='MultiBranch', branch_field=branches, unsup_teacher=weak),
    ],
)
batch_size = 2 * _base_.train_dataloader.batch_size
train_dataloader = dict(
    batch_size=batch_size,
    sampler=dict(_delete_=True, type='MultiSourceSampler', batch_size=batch_size, source_ratio=[1, 1]),
    batch_sampler=None,
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[labelled, unlabelled]),
)

# As long as the demo, counted in iterations, which the sampler needs.
max_iters = 640
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=160)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, T_max=max_iters, eta_min=1e-5),
]
log_processor = dict(by_epoch=False)
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=160))
custom_hooks = [
    *_base_.custom_hooks,
    # The teacher averages over a tenth of the training, also the statistics of batch norm.
    dict(type='MeanTeacherHook', momentum=10 / max_iters, skip_buffer=False),
    dict(type='MeanTeacherMetricsHook'),
]
