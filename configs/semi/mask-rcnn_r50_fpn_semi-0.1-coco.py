# Mask R-CNN R50-FPN with 10 % of COCO's labels, by the published protocol of SoftTeacher: 180,000 iterations on 8 GPUs,
# each with 1 labelled and 4 unlabelled images. `--fnoise` adds F-Noise on the features of unlabelled images.
# `tools/split_coco.py data/coco/annotations/instances_train2017.json --percent 1 5 10 --out data/coco/semi_anns` writes
# the splits. Not run here: it needs GPUs.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/semi_coco_detection.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['fnoise_mmdet'], allow_failed_imports=False)

model = dict(
    _delete_=True,
    type='FNoiseTeacher',
    detector=_base_.model,
    data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=_base_.model.data_preprocessor),
    semi_train_cfg=dict(unsup_weight=2.0, feature_weight=2.0, cls_pseudo_thr=0.9),  # 4 in all, as SoftTeacher's
    semi_test_cfg=dict(predict_on='teacher'),
)

split = 'semi_anns/instances_train2017.1@10'  # fold 1
with_mask = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
sup_pipeline = [with_mask if step['type'] == 'LoadAnnotations' else step for step in _base_.sup_pipeline]
labeled_dataset = dict(_base_.labeled_dataset, ann_file=f'{split}.json', pipeline=sup_pipeline)
unlabeled_dataset = dict(
    _base_.unlabeled_dataset, ann_file=f'{split}-unlabeled.json', data_prefix=dict(img='train2017/')
)
train_dataloader = dict(dataset=dict(datasets=[labeled_dataset, unlabeled_dataset]))
load, *others = _base_.test_pipeline
val_dataloader = dict(dataset=dict(pipeline=[load, with_mask, *others]))
test_dataloader = val_dataloader
val_evaluator = dict(type='CompleteCocoMetric', metric=['bbox', 'segm'])
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=180000, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=180000, milestones=[120000, 160000], gamma=0.1),
]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001))
auto_scale_lr = dict(base_batch_size=40)
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=2),
)
custom_hooks = [
    dict(type='MeanTeacherHook', skip_buffer=False),
    dict(type='MeanTeacherMetricsHook'),
    dict(type='ExactResumeHook'),
    dict(type='FiniteLossHook'),
    dict(type='GracefulStopHook'),
]
