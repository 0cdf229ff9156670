# `make help` lists the targets. Every target creates .venv first if missing.
PYTHON ?= python3
OUT ?= work_dirs
CHROMIUM ?= chromium
SHAPES := data/shapes
READY := .venv/ready
UPSTREAM := .venv-upstream
RUN := .venv/bin/python
# Two trainings of one thread each use two cores better than one of two threads. Interrupted runs resume.
PAIR := $(RUN) tools/run_pair.py configs/demo_baseline.py configs/demo_fnoise.py --workers 2
BASELINE := $(OUT)/demo/baseline/seed_0
FNOISE := $(OUT)/demo/fnoise/seed_0

.DELETE_ON_ERROR:
.PHONY: help setup demo photos drawn semi semi-photos compare pictures pictures-photos check-configs
.PHONY: study study-photos study-semi
.PHONY: benchmarks benchmarks-gpu test test-slow test-gpu test-upstream fuzz lint format docs

help:
	@echo 'make demo           train Mask R-CNN with and without F-Noise on the embedded data, compare, draw (2 to 10 minutes)'
	@echo 'make photos         the same on photographs: DATA=DIR names a COCO folder, of which TRAIN=110 and VAL=50 images are drawn'
	@echo '                    (CLASSES=supercategories: with 12 classes instead of 80)'
	@echo 'make compare        the demo over three seeds, and the report with intervals (15 to 30 minutes)'
	@echo 'make semi           the pair on images without labels: 64 of the embedded images have labels, 576 have none'
	@echo 'make semi-photos    the same on photographs: 50 images of make photos have labels, 60 have none (DATA as there)'
	@echo 'make test           the tests (5 to 15 minutes on two cores)'
	@echo 'make test-slow      the tests that take minutes, make demo among them, two at a time (15 to 30 minutes)'
	@echo 'make test-gpu       the tests of the noise and of the neck, on a GPU'
	@echo 'make test-upstream  the tests with the original mmengine, mmcv and mmdet, in .venv-upstream'
	@echo 'make fuzz           thousands of mutated annotations, hostile checkpoints, images and servers, and kills (hours)'
	@echo 'make docs           the documentation as a site, in site/'
	@echo 'make lint           ruff and mypy'
	@echo 'make format         let ruff format the code'
	@echo 'make pictures       run the demo and the comparison, and copy their pictures to docs/pictures/, for the README'
	@echo 'make pictures-photos  the same for photographs, those of docs/pictures/photos/README.md, which DATA must have'
	@echo 'make study          three seeds of the study of docs/study/, with its table and picture (1 to 3 hours);'
	@echo '                    SEEDS="3 4" trains others, here or on another machine, and the page shows all'
	@echo '                    saved ones'
	@echo 'make study-photos   its part on photographs, those of DATA=DIR in COCO layout: SEEDS as above, each with another'
	@echo '                    fifth of the images held out'
	@echo 'make study-semi     its part on images without labels: SEEDS as above, each with labels for other images'
	@echo 'make check-configs  check F-Noise on every config that mmdet ships; the table goes to docs/configs.md (half an hour or so)'
	@echo 'make benchmarks     measure the overhead, into benchmarks/ and docs/performance.md (half an hour on an otherwise idle machine;'
	@echo '                    DATA=DIR names real images in COCO layout, PEER=PYTHON a Python that has torchvision)'
	@echo 'make benchmarks-gpu the same on a GPU (a quarter of an hour; DATA as above)'
	@echo 'make setup          create .venv only (the first time 3 to 10 minutes; all other targets do it if needed)'
	@echo
	@echo 'PYTHON=python3.11 is the Python for .venv, OUT=DIR the folder of runs and reports (work_dirs),'
	@echo 'CHROMIUM=... the browser with which make pictures opens the report (chromium).'

setup: $(READY)

$(READY): requirements.txt pyproject.toml tools/dev/setup_env.py
	@$(PYTHON) tools/dev/setup_env.py
	@touch $@

# The demo: data, two trainings, their comparison, and what both detect on the test images; these two side by side.
demo: $(OUT)/demo/trained
	@$(MAKE) --no-print-directory --output-sync -j2 $(OUT)/demo/report/report.html $(OUT)/demo/detections/finished
	@echo
	@cat $(OUT)/demo/report/comparison.md
	@echo
	@echo 'look at:'
	@echo '  the report     $(OUT)/demo/report/report.html'
	@echo '  feature maps   $(FNOISE)/*/vis_data/vis_image/'
	@echo '  detections     $(OUT)/demo/detections/vis/'
	@echo '  TensorBoard    .venv/bin/tensorboard --logdir $(OUT)'

$(SHAPES): | $(READY)
	@echo 'the embedded data set: 10 seconds'
	@$(RUN) tools/make_shapes.py --out $@

$(OUT)/demo/trained: | $(READY) $(SHAPES)
	@$(PAIR) --seeds 0 --no-report --out $(OUT)/demo $(DEMO)
	@touch $@

$(OUT)/demo/report/report.html: $(OUT)/demo/trained
	@$(RUN) tools/compare.py $(OUT)/demo --out $(@D) --force

$(OUT)/demo/detections/finished: $(OUT)/demo/trained
	@$(RUN) tools/infer.py configs/demo_baseline.py $$(cat $(BASELINE)/last_checkpoint) \
	    $$(cat $(FNOISE)/last_checkpoint) $(SHAPES)/test --names baseline fnoise --out-dir $(@D) --force
	@touch $@

# The pair on photographs: TRAIN and VAL images are drawn from the COCO folder DATA, with its CLASSES.
TRAIN ?= 110
VAL ?= 50
CLASSES ?= categories
PHOTOS := $(OUT)/photos_$(CLASSES)
SAMPLE := data/photos_$(CLASSES)

DRAWN := DATA=$(DATA) TRAIN=$(TRAIN) VAL=$(VAL)

photos: drawn $(PHOTOS)/trained
	@$(RUN) tools/compare.py $(PHOTOS) --out $(PHOTOS)/report --force
	@$(RUN) tools/infer.py $(PHOTOS)/baseline.py $$(cat $(PHOTOS)/baseline/seed_0/last_checkpoint) \
	    $$(cat $(PHOTOS)/fnoise/seed_0/last_checkpoint) $(SAMPLE)/val --names baseline fnoise \
	    --annotations $(SAMPLE)/annotations/instances_val.json --out-dir $(PHOTOS)/detections --force
	@echo
	@cat $(PHOTOS)/report/comparison.md
	@echo
	@echo 'look at:'
	@echo '  the report     $(PHOTOS)/report/report.html'
	@echo '  feature maps   $(PHOTOS)/fnoise/seed_0/*/vis_data/vis_image/'
	@echo '  detections     $(PHOTOS)/detections/vis/'

# Results of other images must not pass for those of these.
drawn:
	@test ! -e $(SAMPLE)/drawn || test "$$(cat $(SAMPLE)/drawn)" = '$(DRAWN)' || \
	    { echo "$(SAMPLE) was drawn with $$(cat $(SAMPLE)/drawn): use these, or remove it and $(PHOTOS)" >&2; exit 1; }

$(SAMPLE)/sample.json: | $(READY)
	@$(RUN) tools/coco_sample.py --from $(DATA) --num-train $(TRAIN) --num-val $(VAL) --num-test 0 \
	    $(if $(filter supercategories,$(CLASSES)),--supercategories) --out $(@D)
	@echo '$(DRAWN)' > $(@D)/drawn

$(PHOTOS)/trained: $(SAMPLE)/sample.json
	@$(RUN) tools/run_pair.py configs/photos_baseline.py configs/photos_fnoise.py --data-root $(<D) --workers 2 \
	    --seeds 0 --no-report --out $(PHOTOS)
	@touch $@

# The pair on images without labels.
SPLIT := $(SHAPES)/annotations/instances_train.1@64_images.json
semi: $(SPLIT)
	@$(RUN) tools/run_pair.py configs/semi/demo_semi_baseline.py configs/semi/demo_semi_fnoise.py --workers 2 --seeds 0 \
	    --out $(OUT)/semi

$(SPLIT): | $(READY) $(SHAPES)
	@$(RUN) tools/split_coco.py $(SHAPES)/annotations/instances_train.json --number 64

# The same on photographs, the sample of `make photos`.
SPLIT_PHOTOS := data/photos_categories/annotations/instances_train.1@50_images.json
semi-photos: $(SPLIT_PHOTOS)
	@$(RUN) tools/run_pair.py configs/semi/photos_semi_baseline.py configs/semi/photos_semi_fnoise.py --workers 2 --seeds 0 \
	    --out $(OUT)/semi_photos

$(SPLIT_PHOTOS): data/photos_categories/sample.json
	@$(RUN) tools/split_coco.py $(<D)/annotations/instances_train.json --number 50

# The demo over three seeds, as a separate study.
compare: | $(READY) $(SHAPES)
	@$(PAIR) --seeds 0 1 2 --out $(OUT)/pair

# The README's pictures except that of the study; the browser takes the picture of the report.
pictures: demo compare
	@mkdir -p docs/pictures
	@cp $(OUT)/pair/report/figures/losses.png docs/pictures/
	@$(RUN) tools/show_noise.py configs/demo_fnoise.py $$(cat $(FNOISE)/last_checkpoint) \
	    $(SHAPES)/test/000002.png --sweep 0.1 0.3 1 3 --out $(OUT)/demo/sweep --force
	@cp $(OUT)/demo/sweep/000002.png docs/pictures/sweep.png
	@for i in 1 2 3; do cp $(OUT)/demo/detections/vis/00000$$i.png docs/pictures/detections_$$i.png; done
	@$(RUN) tools/infer.py configs/demo_baseline.py $$(cat $(OUT)/pair/baseline/seed_0/last_checkpoint) \
	    $(SHAPES)/test/000002.png --fnoise --samples 10 --out-dir $(OUT)/demo/spread --force
	@cp $(OUT)/demo/spread/vis/000002.png docs/pictures/spread.png
	@$(CHROMIUM) --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1200,1300 \
	    --virtual-time-budget=5000 --screenshot=docs/pictures/report.png "file://$$(realpath $(OUT))/pair/report/report.html"

# Those of photographs, which docs/pictures/photos/README.md names with their licences: DATA must have them.
PHOTOGRAPHS = docs/pictures/photos
SHOW_PHOTO = $(RUN) tools/show_noise.py $(PHOTOS)/fnoise.py $$(cat $(PHOTOS)/fnoise/seed_0/last_checkpoint)
pictures-photos: photos
	@mkdir -p $(PHOTOGRAPHS)
	@$(SHOW_PHOTO) $(SAMPLE)/val/000000214753.jpg --out $(PHOTOS)/panels --force
	@cp $(PHOTOS)/panels/000000214753.png $(PHOTOGRAPHS)/feature_maps.png
	@$(SHOW_PHOTO) $(SAMPLE)/val/000000214753.jpg --density --out $(PHOTOS)/density --force
	@cp $(PHOTOS)/density/000000214753.png $(PHOTOGRAPHS)/density.png
	@$(RUN) tools/infer.py $(PHOTOS)/baseline.py $$(cat $(PHOTOS)/baseline/seed_0/last_checkpoint) \
	    $$(cat $(PHOTOS)/fnoise/seed_0/last_checkpoint) $(SAMPLE)/train/000000358083.jpg --names baseline fnoise \
	    --annotations $(SAMPLE)/annotations/instances_train.json --out-dir $(PHOTOS)/learned --force
	@cp $(PHOTOS)/learned/vis/000000358083.png $(PHOTOGRAPHS)/learned.png
	@cp $(PHOTOS)/detections/vis/000000403385.png $(PHOTOGRAPHS)/held_out.png

# The study in docs/study/ and the README uses all seeds saved there, so that several machines can train different seeds;
# SEEDS names those to train here. Interrupted runs resume.
SEEDS ?= 0 1 2
SPACE := $() $()
SHARE = seeds_$(subst $(SPACE),_,$(strip $(SEEDS)))
EMBEDDED = $(OUT)/study/embedded/$(SHARE)
study: | $(READY) $(SHAPES)
	@$(RUN) tools/sweep.py configs/demo_baseline.py --preset cct mean_normal=0.1 uniform_20=0.2 FDrop \
	    --condition FeatureDropBlock:FeatureDropBlock@pre \
	    --scale 0 0.1 0.2 0.3 0.5 1 --seeds $(SEEDS) --no-report --out $(EMBEDDED)
	@$(RUN) tools/robustness.py $(EMBEDDED) --severities 3
	$(call keep_study,$(EMBEDDED),embedded,$(SHARE))
	@$(RUN) tools/compare.py docs/study/embedded/seeds_*.json --mark embedded --into docs/study/README.md \
	    --figure docs/study/embedded/differences.png
	$(draw_map)

# On the photographs of DATA: seed S holds out fold S modulo 5, so that five seeds evaluate every photograph once. 24 epochs
# instead of 44 are long enough to overfit, and a seed of the four conditions takes 40 minutes on two cores.
study-photos: $(SEEDS:%=study-photos-%)
	@$(RUN) tools/compare.py docs/study/photos/seeds_*.json --mark photos --into docs/study/README.md \
	    --figure docs/study/photos/differences.png
	$(draw_map)

study-photos-%: | $(READY)
	@fold=$$(($* % 5)) && data=data/photos_folds/$$fold && \
	if [ ! -d $$data ]; then $(RUN) tools/coco_sample.py --from $(DATA) --fold $$fold/5 --out $$data; fi && \
	$(RUN) tools/sweep.py configs/photos_baseline.py --data-root $$data --preset cct=0.3 l2=0.3 \
	    --condition ChannelDropout_0.5:ChannelDropout model.neck.noise.drop_prob=0.5 \
	    --seeds $* --no-report --out $(OUT)/study/photos/seed_$* --cfg-options train_cfg.max_epochs=24 \
	    train_cfg.val_interval=12 param_scheduler.1.end=24 param_scheduler.1.T_max=24
	$(call keep_study,$(OUT)/study/photos/seed_$*,photos,seeds_$*)

# On images without labels: seed S has labels for another 64 of the 640 images. All conditions start from the
# checkpoint of its supervised training, in two blocks, with batch norm trained and frozen; those with twice as many labels
# from that of a training with these labels.
# study-semi-settings-S trains the conditions from which the protocol chose the teacher's settings.
SEMI := data/study_semi
STUDY_SEMI = $(OUT)/study/semi
study-semi: $(SEEDS:%=study-semi-%)
	@for block in trained frozen; do $(RUN) tools/compare.py docs/study/semi/$$block/seeds_*.json --mark semi_$$block \
	    --curve 64=supervised 128=labels_128 --into docs/study/README.md --figure docs/study/semi/$$block.png || exit; done

study-semi-%: $(STUDY_SEMI)/start_%
	$(call semi_block,trained,$*,$(SEMI_CONDITIONS))
	$(call semi_block,frozen,$*,$(SEMI_CONDITIONS),model.detector.backbone.norm_eval=True)

study-semi-settings-%: $(STUDY_SEMI)/start_%
	$(call semi_block,settings,$*,$(SEMI_SETTINGS))

SEMI_SWEEP = $(RUN) tools/sweep.py configs/semi/demo_semi_baseline.py --data-root $(SEMI) --no-report
.PRECIOUS: $(STUDY_SEMI)/start_% $(SEMI)/annotations/instances_train.%@64_images.json
$(STUDY_SEMI)/start_%: $(SEMI)/annotations/instances_train.%@64_images.json
	@$(SEMI_SWEEP) --scale 0 --condition labels_128 $(call semi_labels,$*,128) --seeds $* --out $@.part \
	    --cfg-options $(SUPERVISED) train_cfg.val_interval=640 $(call semi_labels,$*,64)
	@mv $@.part $@

$(SEMI)/annotations/instances_train.%@64_images.json: | $(SEMI)
	@$(RUN) tools/split_coco.py $(SEMI)/annotations/instances_train.json --number 64 128 --fold $*

$(SEMI): | $(READY)
	@$(RUN) tools/make_shapes.py --num-val 500 --out $@

# Settings: the $(2) labelled images of seed $(1), and where condition $(2) of seed $(1) starts from.
semi_labels = train_dataloader.dataset.datasets.0.ann_file=annotations/instances_train.$(1)@$(2)_images.json \
    train_dataloader.dataset.datasets.1.ann_file=annotations/instances_train.$(1)@$(2)_images-unlabeled.json
semi_start = load_from=$(STUDY_SEMI)/start_$(1)/$(2)/seed_$(1)/iter_640.pth
SUPERVISED := model.semi_train_cfg.feature_weight=0
SEMI_CONDITIONS = --scale 0.3 --preset cct l2 \
    --condition ChannelDropout_0.5:ChannelDropout model.detector.neck.noise.drop_prob=0.5 \
    --condition antithetic:cct=0.3 model.semi_train_cfg.views=2 model.semi_train_cfg.antithetic=True \
    --condition supervised $(SUPERVISED) \
    --condition labels_128 $(SUPERVISED) $(call semi_labels,$*,128) $(call semi_start,$*,labels_128)
SEMI_SETTINGS := --scale 0 --condition hard_0.5 model.semi_train_cfg.cls_pseudo_thr=0.5 \
    --condition hard_0.5_half model.semi_train_cfg.cls_pseudo_thr=0.5 model.semi_train_cfg.feature_weight=0.5 \
    --condition soft model.semi_train_cfg.targets=soft \
    --condition supervised $(SUPERVISED)

# Block $(1) of the study with seed $(2): conditions $(3), settings $(4).
define semi_block
	@$(SEMI_SWEEP) $(3) --seeds $(2) --out $(STUDY_SEMI)/$(1)_$(2) --cfg-options train_cfg.max_iters=320 \
	    train_cfg.val_interval=320 param_scheduler.1.end=320 param_scheduler.1.T_max=320 \
	    $(call semi_labels,$(2),64) $(call semi_start,$(2),baseline) $(4)
	$(call keep_study,$(STUDY_SEMI)/$(1)_$(2),semi/$(1),seeds_$(2))
endef

# Save the results of the study $(1) as docs/study/$(2)/$(3).json.
define keep_study
	@$(RUN) tools/compare.py $(1) --out $(1)/report --force
	@mkdir -p docs/study/$(2)
	@cp $(1)/report/comparison.json docs/study/$(2)/$(3).json
	@cp $(1)/baseline.py docs/study/$(2)/
endef

# The map of the conclusions in all regimes whose seeds are complete.
define draw_map
	@$(RUN) tools/compare.py --regime "embedded shapes=$$(ls docs/study/embedded/seeds_*.json | paste -sd,)" \
	    --regime "photographs=$$(ls docs/study/photos/seeds_*.json | paste -sd,)" --figure docs/study/map.png
endef

check-configs: $(READY)
	@$(RUN) tools/dev/check_configs.py --workers 2 --out $(OUT)/check_configs
	@cp $(OUT)/check_configs/table.md docs/configs.md

# On the images of DATA; against torchvision where PEER names a Python that has it.
DATA ?= data/coco_sample
BENCHMARK := $(RUN) tools/dev/benchmark.py
TABLES = $(BENCHMARK) table --into docs/performance.md
benchmarks: | $(READY) $(SHAPES)
	@$(BENCHMARK) noise --device cpu --rounds 60 --out benchmarks/noise.json
	@$(BENCHMARK) noise --device cpu --batch-size 8 --out benchmarks/noise_batch_8.json
	@$(BENCHMARK) sizes --device cpu --out benchmarks/sizes.json
	@$(BENCHMARK) step --device cpu --rounds 150 --out benchmarks/step_demo.json
	@$(BENCHMARK) step configs/baseline.py --device cpu --data-root $(DATA) --noises cct --rounds 20 \
	    --cfg-options "train_dataloader.dataset.pipeline.2.scale=(512,320)" --out benchmarks/step_r50.json
	@$(BENCHMARK) eval --device cpu --rounds 150 --out benchmarks/eval.json
	@$(BENCHMARK) peer --device cpu --data-root $(DATA) $(if $(PEER),--peer-python $(PEER)) --out benchmarks/peer.json
	@$(BENCHMARK) demo --out benchmarks/demo.json
	@$(TABLES)

GPU_NOISE := $(BENCHMARK) noise --device cuda --size 1333 800
GPU_STEP = $(BENCHMARK) step configs/baseline.py --device cuda --data-root $(DATA) --noises cct
benchmarks-gpu: | $(READY)
	@$(GPU_NOISE) --out benchmarks/gpu_noise.json
	@$(GPU_NOISE) --dtype float16 --out benchmarks/gpu_noise_float16.json
	@$(GPU_NOISE) --batch-size 16 --out benchmarks/gpu_noise_batch_16.json
	@$(GPU_STEP) --rounds 250 --out benchmarks/gpu_step_r50.json
	@$(GPU_STEP) --rounds 250 --amp --out benchmarks/gpu_step_r50_amp.json
	@$(GPU_STEP) --rounds 40 --batch-size 8 --out benchmarks/gpu_step_r50_batch_8.json
	@$(BENCHMARK) sizes --device cuda --out benchmarks/gpu_sizes.json
	@$(BENCHMARK) eval configs/baseline.py --device cuda --data-root $(DATA) --out benchmarks/gpu_eval.json
	@$(TABLES)

# Tests run in JOBS processes; TESTS selects tests or excludes files (--ignore=FILE).
JOBS ?= 2
test: $(READY)
	@$(RUN) -m pytest -n $(JOBS) --dist loadgroup $(TESTS)

test-slow: $(READY)
	@$(RUN) -m pytest -m slow -n $(JOBS) --dist loadgroup $(TESTS)

# The tests that run the kernels; all other tests hide the GPU.
test-gpu: $(READY)
	@FNOISE_TEST_GPU=1 $(RUN) -m pytest tests/noise tests/models/necks

# Thousands of mutated and hostile files, wrong responses of servers, and kills, of which `make test` runs a few, and tests
# that take too long for CI: a step of every family of detectors, a compiled training.
fuzz: $(READY)
	@$(RUN) -m pytest -m 'fuzz or long' --full -o faulthandler_timeout=0 -n $(JOBS) --dist loadgroup $(TESTS)

# In a separate environment, with a torch that the original distributions support.
test-upstream: $(UPSTREAM)/ready
	@$(UPSTREAM)/bin/python -m pytest -n $(JOBS) --dist loadgroup $(TESTS)

$(UPSTREAM)/ready: requirements-upstream.txt pyproject.toml tools/dev/setup_env.py
	@$(PYTHON) tools/dev/setup_env.py --upstream
	@touch $@

# Fails on broken links and pages missing from the navigation. In a separate environment without torch and mmdet.
docs: .venv-docs/ready
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict
	@echo 'look at site/index.html'

.venv-docs/ready: requirements-docs.txt
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@

lint: $(READY)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

format: $(READY)
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .
