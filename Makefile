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
	@echo 'make study          train three seeds of a regime of the study, and update its table and figure in docs/study/;'
	@echo '                    REGIME=embedded (1 to 3 hours), labels (fewer labels), photos (DATA as above), semi or semi-photos'
	@echo '                    (images without labels); SEEDS="3 4" trains others, here or on another machine'
	@echo 'make check-configs  check F-Noise on every config that mmdet ships; the table goes to docs/configs.md (half an hour or so)'
	@echo 'make benchmarks     measure the overhead, into benchmarks/ and docs/performance.md (half an hour on an otherwise idle machine;'
	@echo '                    DATA=DIR names real images in COCO layout, PEER=PYTHON a Python that has torchvision)'
	@echo 'make benchmarks-gpu the same on a GPU (about ten minutes; DATA and PEER as above)'
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

include docs/study/study.mk

check-configs: $(READY)
	@$(RUN) tools/dev/check_configs.py --workers 2 --out $(OUT)/check_configs
	@cp $(OUT)/check_configs/table.md docs/configs.md

# On the images of DATA; against torchvision where PEER names a Python that has it.
PEER_STEP = $(BENCHMARK) peer --data-root $(DATA) $(if $(PEER),--peer-python $(PEER))
DATA ?= data/coco_sample
BENCHMARK := $(RUN) tools/dev/benchmark.py
TABLES = $(BENCHMARK) table --into docs/performance.md --figure docs/pictures/pyramids.png
benchmarks: $(SPLIT) | $(READY) $(SHAPES)
	@$(BENCHMARK) noise --device cpu --rounds 60 --out benchmarks/noise.json
	@$(BENCHMARK) noise --device cpu --batch-size 8 --out benchmarks/noise_batch_8.json
	@$(BENCHMARK) sizes --device cpu --out benchmarks/sizes.json
	@$(BENCHMARK) pyramids --device cpu --out benchmarks/pyramids.json
	@$(BENCHMARK) step --device cpu --rounds 150 --out benchmarks/step_demo.json
	@$(BENCHMARK) step --device cpu --noises cct@stage cct@roi --rounds 150 --out benchmarks/step_places.json
	@$(BENCHMARK) step configs/semi/demo_semi_baseline.py --device cpu --noises cct l2 ChannelDropout --rounds 60 \
	    --out benchmarks/step_semi.json
	@$(BENCHMARK) step configs/baseline.py --device cpu --data-root $(DATA) --noises cct --rounds 20 \
	    --cfg-options "train_dataloader.dataset.pipeline.2.scale=(512,320)" --out benchmarks/step_r50.json
	@$(BENCHMARK) eval --device cpu --rounds 150 --out benchmarks/eval.json
	@$(PEER_STEP) --device cpu --out benchmarks/peer.json
	@$(BENCHMARK) demo --out benchmarks/demo.json
	@$(TABLES)

GPU_NOISE := $(BENCHMARK) noise --device cuda --size 1333 800
GPU_STEP = $(BENCHMARK) step configs/baseline.py --device cuda --data-root $(DATA) --noises cct
benchmarks-gpu: | $(READY)
	@$(GPU_NOISE) --out benchmarks/gpu_noise.json
	@$(GPU_NOISE) --dtype float16 --out benchmarks/gpu_noise_float16.json
	@$(GPU_NOISE) --batch-size 16 --out benchmarks/gpu_noise_batch_16.json
	@$(GPU_STEP) --rounds 200 --out benchmarks/gpu_step_r50.json
	@$(GPU_STEP) --rounds 200 --amp --out benchmarks/gpu_step_r50_amp.json
	@$(GPU_STEP) --rounds 40 --batch-size 8 --out benchmarks/gpu_step_r50_batch_8.json
	@$(BENCHMARK) sizes --device cuda --out benchmarks/gpu_sizes.json
	@$(BENCHMARK) pyramids --device cuda --out benchmarks/gpu_pyramids.json
	@$(BENCHMARK) eval configs/baseline.py --device cuda --data-root $(DATA) --out benchmarks/gpu_eval.json
	@$(PEER_STEP) --device cuda --size 1333 800 --out benchmarks/gpu_peer.json
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
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
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
