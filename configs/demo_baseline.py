# The baseline made small: Mask R-CNN with a ResNet-18 of half the width on the embedded data set of shapes,
# from random weights, in a few minutes on two CPU cores. `tools/make_shapes.py` writes the data.
_base_ = './baseline.py'

width = 32  # of the backbone's first stage, where a ResNet-18 has 64
channels = 64  # of the FPN and the heads, where the baseline has 256
classes = ('circle', 'bar', 'triangle', 'cross', 'ring')
roi_layer = dict(sampling_ratio=1)  # one sample per bin is enough for objects this small

# The model sees images at 128 pixels, with objects of 20 to 80: half of mmdet's anchor sizes, 16 pixels
# on the finest level. Numbers of proposals, RoIs and detections suit the 2 to 6 objects of an image.
model = dict(
    backbone=dict(depth=18, base_channels=width, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[width, 2 * width, 4 * width, 8 * width], out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, roi_layer=roi_layer),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=len(classes)),
        mask_roi_extractor=dict(out_channels=channels, roi_layer=roi_layer),
        mask_head=dict(num_convs=2, in_channels=channels, conv_out_channels=channels, num_classes=len(classes)),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)), rpn_proposal=dict(nms_pre=200, max_per_img=64), rcnn=dict(sampler=dict(num=32))
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=64), rcnn=dict(max_per_img=32)),
)

scale = (128, 128)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
data_root = 'data/shapes/'
palette = [(230, 60, 60), (60, 140, 240), (250, 190, 40), (60, 180, 90), (170, 80, 220)]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes, palette=palette))
loader = dict(batch_size=4, num_workers=1)
train_dataloader = dict(**loader, dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(**dataset, pipeline=test_pipeline))
test_dataloader = dict(**loader, dataset=dict(**dataset, pipeline=test_pipeline))
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = dict(ann_file=data_root + 'annotations/instances_test.json')

# Random weights learn faster with AdamW than with SGD, and from small batches: 640 images, 4 per batch, are
# 160 iterations per epoch; mask AP50 on the val part passes 0.5 after 4 epochs.
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=1e-4, fused=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        convert_to_iter_based=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min=1e-5,
    ),
]
auto_scale_lr = dict(base_batch_size=4)
custom_hooks = [
    *(dict(hook, interval=160) if hook['type'] == 'FeatureMapHook' else hook for hook in _base_.custom_hooks),
    dict(type='TrainingAPHook', images=80),  # as many as there are validation images
]
