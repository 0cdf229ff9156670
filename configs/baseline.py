# Mask R-CNN R50-FPN on a sample of COCO: the plain detector that F-Noise is compared with.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['fnoise_mmdet'], allow_failed_imports=False)

# ImageNet weights by their plain address: mmdet's `torchvision://resnet50` is the same file,
# but needs torchvision installed. `tools/train.py --from-scratch` trains without them.
# FastRoIExtractor is mmdet's SingleRoIExtractor, with a RoIAlign that is many times as fast on a CPU.
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(type='FastRoIExtractor'),
        mask_roi_extractor=dict(type='FastRoIExtractor', channels_last=True),
    ),
)

# Data: `tools/coco_sample.py` writes this folder; `--data-root` of the tools names another one.
data_root = 'data/coco_sample/'
train_dataloader = dict(
    dataset=dict(data_root=data_root, ann_file='annotations/instances_train.json', data_prefix=dict(img='train/'))
)
val_dataloader = dict(
    dataset=dict(data_root=data_root, ann_file='annotations/instances_val.json', data_prefix=dict(img='val/'))
)
test_dataloader = dict(
    dataset=dict(data_root=data_root, ann_file='annotations/instances_test.json', data_prefix=dict(img='test/'))
)
# CompleteCocoMetric reports AP 0 when nothing is detected, where CocoMetric reports nothing.
val_evaluator = dict(type='CompleteCocoMetric', ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = dict(type='CompleteCocoMetric', ann_file=data_root + 'annotations/instances_test.json')

# Schedule for about a hundred images, 2 per batch: 10 epochs of about 50 iterations. The warm-up ends
# within the first epoch, where mmdet's 500 iterations would be the whole training.
train_cfg = dict(max_epochs=10)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=10, milestones=[7, 9], gamma=0.1),
]
# mmdet's 0.02 for 16 images per batch is 0.0025 for 2; twice that, because there are so few steps.
# Clipping keeps the first steps of heads without pre-trained weights in bounds.
optim_wrapper = dict(optimizer=dict(lr=0.005, fused=True), clip_grad=dict(max_norm=10, norm_type=2))
auto_scale_lr = dict(base_batch_size=2)

# One seed decides weights, order, augmentation, RoI samples and noise.
randomness = dict(seed=0)

# A line of the log is the mean of the 10 iterations since the line before.
log_processor = dict(window_size=10)
default_hooks = dict(
    logger=dict(interval=10, ignore_last=False), checkpoint=dict(type='SafeCheckpointHook', max_keep_ckpts=1)
)
custom_hooks = [
    dict(type='EpochLossHook'),
    dict(type='FeatureMapHook', interval=50, images=2),
    dict(type='SNRHook', interval=10),
    dict(type='ValidationLossHook'),
    dict(type='RunRecordHook'),
    dict(type='ExactResumeHook'),
    dict(type='FiniteLossHook'),
    dict(type='CorruptImageHook'),
    dict(type='GracefulStopHook'),
]
vis_backends = [dict(type='AtomicLocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(vis_backends=vis_backends)
