# The same with 1 % of COCO's labels.
_base_ = './mask-rcnn_r50_fpn_semi-0.1-coco.py'

split = 'semi_anns/instances_train2017.1@1'
labelled, unlabelled = _base_.train_dataloader.dataset.datasets
labelled.ann_file = f'{split}.json'
unlabelled.ann_file = f'{split}-unlabeled.json'
train_dataloader = dict(dataset=dict(datasets=[labelled, unlabelled]))
