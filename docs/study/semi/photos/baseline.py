annotations = dict(
    _scope_='mmdet', type='LoadAnnotations', with_bbox=True, with_mask=True)
augmentation = [
    dict(_scope_='mmdet', keep_ratio=True, scale=(
        320,
        320,
    ), type='Resize'),
    dict(_scope_='mmdet', prob=0.5, type='RandomFlip'),
]
auto_scale_lr = dict(base_batch_size=2, enable=False)
backbone_channels = [
    24,
    40,
    112,
    320,
]
backend_args = None
batch_size = 4
branches = [
    'sup',
    'unsup_teacher',
]
channels = 96
custom_hooks = [
    dict(type='EpochLossHook'),
    dict(images=2, interval=605, type='FeatureMapHook'),
    dict(interval=10, type='SNRHook'),
    dict(type='ValidationLossHook'),
    dict(type='RunRecordHook'),
    dict(type='ExactResumeHook'),
    dict(type='FiniteLossHook'),
    dict(type='CorruptImageHook'),
    dict(type='GracefulStopHook'),
    dict(type='TrainingAPHook'),
    dict(
        momentum=0.00909090909090909,
        skip_buffer=False,
        type='MeanTeacherHook'),
    dict(type='MeanTeacherMetricsHook'),
]
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'fnoise_mmdet',
    ])
data_root = 'data/photos_folds/2'
dataset_type = 'CocoDataset'
default_hooks = dict(
    checkpoint=dict(
        _scope_='mmdet',
        by_epoch=False,
        interval=275,
        max_keep_ckpts=1,
        type='SafeCheckpointHook'),
    logger=dict(
        _scope_='mmdet',
        ignore_last=False,
        interval=10,
        log_metric_by_epoch=False,
        type='LoggerHook'),
    param_scheduler=dict(_scope_='mmdet', type='ParamSchedulerHook'),
    sampler_seed=dict(_scope_='mmdet', type='DistSamplerSeedHook'),
    timer=dict(_scope_='mmdet', type='IterTimerHook'),
    visualization=dict(_scope_='mmdet', type='DetVisualizationHook'))
default_scope = 'mmdet'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
labelled = dict(
    _scope_='mmdet',
    ann_file='annotations/instances_train.1@50_images.json',
    backend_args=None,
    data_prefix=dict(img='train/'),
    data_root='data/photos_categories/',
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=[
        dict(_scope_='mmdet', backend_args=None, type='LoadImageFromFile'),
        dict(
            _scope_='mmdet',
            type='LoadAnnotations',
            with_bbox=True,
            with_mask=True),
        dict(
            _scope_='mmdet',
            keep_ratio=True,
            scale=(
                320,
                320,
            ),
            type='Resize'),
        dict(_scope_='mmdet', prob=0.5, type='RandomFlip'),
        dict(
            branch_field=[
                'sup',
                'unsup_teacher',
            ],
            sup=dict(_scope_='mmdet', type='PackDetInputs'),
            type='MultiBranch'),
    ],
    type='CocoDataset')
load = dict(_scope_='mmdet', backend_args=None, type='LoadImageFromFile')
load_from = 'work_dirs/study/semi_photos/start_2/iter_600.pth'
loader = dict(batch_size=2, num_workers=1)
log_level = 'INFO'
log_processor = dict(
    _scope_='mmdet', by_epoch=False, type='LogProcessor', window_size=10)
max_epochs = 44
max_iters = 1100
meta_keys = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
)
model = dict(
    data_preprocessor=dict(
        data_preprocessor=dict(
            bgr_to_rgb=True,
            mean=[
                127.5,
                127.5,
                127.5,
            ],
            pad_mask=True,
            pad_size_divisor=32,
            std=[
                127.5,
                127.5,
                127.5,
            ],
            type='DetDataPreprocessor'),
        type='MultiBranchDataPreprocessor'),
    detector=dict(
        _scope_='mmdet',
        backbone=dict(
            frozen_stages=1,
            init_cfg=dict(
                checkpoint='timm://tf_efficientnet_lite0', type='Pretrained'),
            model_name='tf_efficientnet_lite0',
            norm_eval=True,
            type='TIMMBackbone'),
        data_preprocessor=dict(
            bgr_to_rgb=True,
            mean=[
                127.5,
                127.5,
                127.5,
            ],
            pad_mask=True,
            pad_size_divisor=32,
            std=[
                127.5,
                127.5,
                127.5,
            ],
            type='DetDataPreprocessor'),
        neck=dict(
            in_channels=[
                24,
                40,
                112,
                320,
            ],
            norm_cfg=dict(num_groups=32, type='GN'),
            num_outs=5,
            out_channels=96,
            type='FPN'),
        roi_head=dict(
            bbox_head=dict(
                bbox_coder=dict(
                    target_means=[
                        0.0,
                        0.0,
                        0.0,
                        0.0,
                    ],
                    target_stds=[
                        0.1,
                        0.1,
                        0.2,
                        0.2,
                    ],
                    type='DeltaXYWHBBoxCoder'),
                fc_out_channels=512,
                in_channels=96,
                loss_bbox=dict(loss_weight=1.0, type='L1Loss'),
                loss_cls=dict(
                    loss_weight=1.0,
                    type='CrossEntropyLoss',
                    use_sigmoid=False),
                num_classes=80,
                reg_class_agnostic=True,
                roi_feat_size=7,
                type='Shared2FCBBoxHead'),
            bbox_roi_extractor=dict(
                featmap_strides=[
                    4,
                    8,
                    16,
                    32,
                ],
                out_channels=96,
                roi_layer=dict(
                    output_size=7, sampling_ratio=0, type='RoIAlign'),
                type='FastRoIExtractor'),
            mask_head=dict(
                class_agnostic=True,
                conv_out_channels=96,
                in_channels=96,
                loss_mask=dict(
                    loss_weight=1.0, type='CrossEntropyLoss', use_mask=True),
                num_classes=80,
                num_convs=2,
                type='FCNMaskHead'),
            mask_roi_extractor=dict(
                channels_last=True,
                featmap_strides=[
                    4,
                    8,
                    16,
                    32,
                ],
                out_channels=96,
                roi_layer=dict(
                    output_size=14, sampling_ratio=0, type='RoIAlign'),
                type='FastRoIExtractor'),
            type='StandardRoIHead'),
        rpn_head=dict(
            anchor_generator=dict(
                ratios=[
                    0.5,
                    1.0,
                    2.0,
                ],
                scales=[
                    4,
                ],
                strides=[
                    4,
                    8,
                    16,
                    32,
                    64,
                ],
                type='AnchorGenerator'),
            bbox_coder=dict(
                target_means=[
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
                target_stds=[
                    1.0,
                    1.0,
                    1.0,
                    1.0,
                ],
                type='DeltaXYWHBBoxCoder'),
            feat_channels=96,
            in_channels=96,
            loss_bbox=dict(loss_weight=1.0, type='L1Loss'),
            loss_cls=dict(
                loss_weight=1.0, type='CrossEntropyLoss', use_sigmoid=True),
            type='RPNHead'),
        test_cfg=dict(
            rcnn=dict(
                mask_thr_binary=0.5,
                max_per_img=100,
                nms=dict(iou_threshold=0.5, type='nms'),
                score_thr=0.05),
            rpn=dict(
                max_per_img=300,
                min_bbox_size=0,
                nms=dict(iou_threshold=0.7, type='nms'),
                nms_pre=500)),
        train_cfg=dict(
            rcnn=dict(
                assigner=dict(
                    ignore_iof_thr=-1,
                    match_low_quality=True,
                    min_pos_iou=0.5,
                    neg_iou_thr=0.5,
                    pos_iou_thr=0.5,
                    type='MaxIoUAssigner'),
                debug=False,
                mask_size=28,
                pos_weight=-1,
                sampler=dict(
                    add_gt_as_proposals=True,
                    neg_pos_ub=-1,
                    num=128,
                    pos_fraction=0.25,
                    type='RandomSampler')),
            rpn=dict(
                allowed_border=-1,
                assigner=dict(
                    ignore_iof_thr=-1,
                    match_low_quality=True,
                    min_pos_iou=0.3,
                    neg_iou_thr=0.3,
                    pos_iou_thr=0.7,
                    type='MaxIoUAssigner'),
                debug=False,
                pos_weight=-1,
                sampler=dict(
                    add_gt_as_proposals=False,
                    neg_pos_ub=-1,
                    num=256,
                    pos_fraction=0.5,
                    type='RandomSampler')),
            rpn_proposal=dict(
                max_per_img=300,
                min_bbox_size=0,
                nms=dict(iou_threshold=0.7, type='nms'),
                nms_pre=500)),
        type='MaskRCNN'),
    semi_test_cfg=dict(predict_on='teacher'),
    type='FNoiseTeacher')
optim_wrapper = dict(
    _scope_='mmdet',
    clip_grad=dict(max_norm=10, norm_type=2),
    optimizer=dict(fused=True, lr=0.001, type='AdamW', weight_decay=0.05),
    paramwise_cfg=dict(
        bypass_duplicate=True,
        custom_keys=dict(backbone=dict(lr_mult=0.2)),
        norm_decay_mult=0.0),
    type='OptimWrapper')
pack = dict(_scope_='mmdet', type='PackDetInputs')
param_scheduler = [
    dict(begin=0, by_epoch=False, end=100, start_factor=0.01, type='LinearLR'),
    dict(
        T_max=300,
        begin=0,
        by_epoch=False,
        end=300,
        eta_min=1e-05,
        type='CosineAnnealingLR'),
]
randomness = dict(seed=0)
resume = False
scale = (
    320,
    320,
)
split = 'annotations/instances_train.1@50_images'
test_cfg = dict(_scope_='mmdet', type='TestLoop')
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        _scope_='mmdet',
        ann_file='annotations/instances_val.json',
        backend_args=None,
        data_prefix=dict(img='val/'),
        data_root='data/photos_folds/2',
        pipeline=[
            dict(_scope_='mmdet', backend_args=None, type='LoadImageFromFile'),
            dict(
                _scope_='mmdet',
                keep_ratio=True,
                scale=(
                    320,
                    320,
                ),
                type='Resize'),
            dict(
                _scope_='mmdet',
                type='LoadAnnotations',
                with_bbox=True,
                with_mask=True),
            dict(
                _scope_='mmdet',
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                ),
                type='PackDetInputs'),
        ],
        test_mode=True,
        type='CocoDataset'),
    drop_last=False,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(_scope_='mmdet', shuffle=False, type='DefaultSampler'))
test_evaluator = dict(
    _scope_='mmdet',
    ann_file='data/photos_folds/2/annotations/instances_val.json',
    backend_args=None,
    format_only=False,
    metric=[
        'bbox',
        'segm',
    ],
    type='CompleteCocoMetric')
test_pipeline = [
    dict(_scope_='mmdet', backend_args=None, type='LoadImageFromFile'),
    dict(_scope_='mmdet', keep_ratio=True, scale=(
        320,
        320,
    ), type='Resize'),
    dict(
        _scope_='mmdet',
        type='LoadAnnotations',
        with_bbox=True,
        with_mask=True),
    dict(
        _scope_='mmdet',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
        type='PackDetInputs'),
]
train_cfg = dict(max_iters=300, type='IterBasedTrainLoop', val_interval=300)
train_dataloader = dict(
    batch_sampler=None,
    batch_size=4,
    dataset=dict(
        datasets=[
            dict(
                _scope_='mmdet',
                ann_file='annotations/instances_train.2@50_images.json',
                backend_args=None,
                data_prefix=dict(img='train/'),
                data_root='data/photos_folds/2',
                filter_cfg=dict(filter_empty_gt=True, min_size=32),
                pipeline=[
                    dict(
                        _scope_='mmdet',
                        backend_args=None,
                        type='LoadImageFromFile'),
                    dict(
                        _scope_='mmdet',
                        type='LoadAnnotations',
                        with_bbox=True,
                        with_mask=True),
                    dict(
                        _scope_='mmdet',
                        keep_ratio=True,
                        scale=(
                            320,
                            320,
                        ),
                        type='Resize'),
                    dict(_scope_='mmdet', prob=0.5, type='RandomFlip'),
                    dict(
                        branch_field=[
                            'sup',
                            'unsup_teacher',
                        ],
                        sup=dict(_scope_='mmdet', type='PackDetInputs'),
                        type='MultiBranch'),
                ],
                type='CocoDataset'),
            dict(
                _scope_='mmdet',
                ann_file=
                'annotations/instances_train.2@50_images-unlabeled.json',
                backend_args=None,
                data_prefix=dict(img='train/'),
                data_root='data/photos_folds/2',
                filter_cfg=dict(filter_empty_gt=False),
                pipeline=[
                    dict(
                        _scope_='mmdet',
                        backend_args=None,
                        type='LoadImageFromFile'),
                    dict(type='LoadEmptyAnnotations', with_mask=True),
                    dict(
                        branch_field=[
                            'sup',
                            'unsup_teacher',
                        ],
                        type='MultiBranch',
                        unsup_teacher=[
                            dict(
                                _scope_='mmdet',
                                keep_ratio=True,
                                scale=(
                                    320,
                                    320,
                                ),
                                type='Resize'),
                            dict(_scope_='mmdet', prob=0.5, type='RandomFlip'),
                            dict(
                                meta_keys=(
                                    'img_id',
                                    'img_path',
                                    'ori_shape',
                                    'img_shape',
                                    'scale_factor',
                                    'flip',
                                    'flip_direction',
                                    'homography_matrix',
                                ),
                                type='PackDetInputs'),
                        ]),
                ],
                type='CocoDataset'),
        ],
        type='ConcatDataset'),
    num_workers=1,
    persistent_workers=True,
    sampler=dict(
        batch_size=4, source_ratio=[
            1,
            1,
        ], type='MultiSourceSampler'))
train_pipeline = [
    dict(_scope_='mmdet', backend_args=None, type='LoadImageFromFile'),
    dict(
        _scope_='mmdet',
        type='LoadAnnotations',
        with_bbox=True,
        with_mask=True),
    dict(_scope_='mmdet', keep_ratio=True, scale=(
        320,
        320,
    ), type='Resize'),
    dict(_scope_='mmdet', prob=0.5, type='RandomFlip'),
    dict(_scope_='mmdet', type='PackDetInputs'),
]
unlabelled = dict(
    _scope_='mmdet',
    ann_file='annotations/instances_train.1@50_images-unlabeled.json',
    backend_args=None,
    data_prefix=dict(img='train/'),
    data_root='data/photos_categories/',
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=[
        dict(_scope_='mmdet', backend_args=None, type='LoadImageFromFile'),
        dict(type='LoadEmptyAnnotations', with_mask=True),
        dict(
            branch_field=[
                'sup',
                'unsup_teacher',
            ],
            type='MultiBranch',
            unsup_teacher=[
                dict(
                    _scope_='mmdet',
                    keep_ratio=True,
                    scale=(
                        320,
                        320,
                    ),
                    type='Resize'),
                dict(_scope_='mmdet', prob=0.5, type='RandomFlip'),
                dict(
                    meta_keys=(
                        'img_id',
                        'img_path',
                        'ori_shape',
                        'img_shape',
                        'scale_factor',
                        'flip',
                        'flip_direction',
                        'homography_matrix',
                    ),
                    type='PackDetInputs'),
            ]),
    ],
    type='CocoDataset')
val_cfg = dict(_scope_='mmdet', type='ValLoop')
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        _scope_='mmdet',
        ann_file='annotations/instances_val.json',
        backend_args=None,
        data_prefix=dict(img='val/'),
        data_root='data/photos_folds/2',
        pipeline=[
            dict(_scope_='mmdet', backend_args=None, type='LoadImageFromFile'),
            dict(
                _scope_='mmdet',
                keep_ratio=True,
                scale=(
                    320,
                    320,
                ),
                type='Resize'),
            dict(
                _scope_='mmdet',
                type='LoadAnnotations',
                with_bbox=True,
                with_mask=True),
            dict(
                _scope_='mmdet',
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                ),
                type='PackDetInputs'),
        ],
        test_mode=True,
        type='CocoDataset'),
    drop_last=False,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(_scope_='mmdet', shuffle=False, type='DefaultSampler'))
val_evaluator = dict(
    _scope_='mmdet',
    ann_file='data/photos_folds/2/annotations/instances_val.json',
    backend_args=None,
    format_only=False,
    metric=[
        'bbox',
        'segm',
    ],
    type='CompleteCocoMetric')
vis_backends = [
    dict(type='AtomicLocalVisBackend'),
    dict(type='TensorboardVisBackend'),
]
visualizer = dict(
    _scope_='mmdet',
    name='visualizer',
    type='DetLocalVisualizer',
    vis_backends=[
        dict(type='AtomicLocalVisBackend'),
        dict(type='TensorboardVisBackend'),
    ])
weak = [
    dict(_scope_='mmdet', keep_ratio=True, scale=(
        320,
        320,
    ), type='Resize'),
    dict(_scope_='mmdet', prob=0.5, type='RandomFlip'),
    dict(
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'homography_matrix',
        ),
        type='PackDetInputs'),
]
