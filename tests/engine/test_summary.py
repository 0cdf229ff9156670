from fnoise_mmdet.engine.summary import training_summary


def test_what_is_there_is_named(train):
    """After a training with pictures, and after one that has kept no checkpoint and was not validated."""
    hooks = [dict(type='FeatureMapHook', images=1)]
    runner = train('demo_baseline.py', 'with pictures', custom_hooks=hooks)
    lines = training_summary(runner, 'my config.py').splitlines()
    assert lines[0] == f'finished {runner.work_dir}'
    assert lines[1].startswith('validation  box AP 0.') and ', mask AP 0.' in lines[1]
    assert lines[2] == f'pictures    {runner.log_dir}/vis_data/vis_image (2)'
    checkpoint = f'{runner.work_dir}/epoch_1.pth'
    assert lines[3] == f'checkpoint  {checkpoint}'
    assert lines[4] == f"next        python tools/infer.py 'my config.py' '{checkpoint}' IMAGES --out-dir detections"

    options = {'default_hooks.checkpoint.interval': 9, 'default_hooks.checkpoint.save_last': False}
    options['train_cfg.val_begin'] = 9
    runner = train('demo_baseline.py', 'without', custom_hooks=[], **options)
    assert training_summary(runner, 'a.py') == f'finished {runner.work_dir}'
