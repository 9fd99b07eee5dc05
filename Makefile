# The jobs of the project. `make help` lists them.

PYTHON ?= python3
VENV := .venv
VENV_RL := .venv-rl
BIN := $(VENV)/bin
HLMAT := $(BIN)/hlmat
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
LLAMAFACTORY := llamafactory==0.9.5
MINIO := v0.0.0-20260212201848-7aac2a2c5b7c
FAKE_GCS_SERVER := v1.56.1

DATASET ?= shapes
OUT ?= out/$(DATASET)$(if $(SPLIT),-$(SPLIT))
SETTINGS := pyproject.toml constraints.txt

# A recipe brings its own data set: these two ask for another only where it is named.
NAMED_DATASET := $(if $(filter command line environment,$(origin DATASET)),$(DATASET))
DATA_FLAGS := $(if $(NAMED_DATASET),--dataset $(NAMED_DATASET))
DATA_FLAGS += $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(if $(SPLIT),--split $(SPLIT))
DATA_FLAGS += $(if $(LIMIT),--limit $(LIMIT)) $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")
RECIPE ?= mini
RL_RECIPE = $(if $(filter command line environment,$(origin RECIPE)),$(RECIPE),mini_grpo)
LADDER_RECIPE = $(if $(filter command line environment,$(origin RECIPE)),$(RECIPE),mini_prm$(if \
	$(filter cuda,$(DEVICE)),_large))
DEVICE_FLAGS := $(if $(DEVICE),--device $(DEVICE) --model-device $(DEVICE))
ROUNDS ?= 1
MINUTES ?= 10
PIN ?= transformers
EVALUATION_OUT = $(if $(filter command line,$(origin OUT)),$(OUT),out/$(RECIPE)/evaluation$(if \
	$(NAMED_DATASET),-$(NAMED_DATASET))$(if $(SPLIT),-$(SPLIT)))

# Flags made from variables: make trajectories DATASET=dis5k DATA_ROOT=/data/hqseg44k SPLIT=val
FLAGS := --dataset $(DATASET) --out "$(OUT)"
FLAGS += $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") $(if $(SPLIT),--split $(SPLIT))
FLAGS += $(if $(SEGMENTER),--segmenter $(SEGMENTER)) $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")
FLAGS += $(if $(POLICY),--policy $(POLICY)) $(if $(LIMIT),--limit $(LIMIT))
FLAGS += $(if $(WORKERS),--workers $(WORKERS)) $(if $(RUNNER),--runner $(RUNNER)) $(ARGS)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

.PHONY: trajectories
trajectories: $(VENV)/.base ## make click trajectories: DATASET= DATA_ROOT= SPLIT= SEGMENTER= OUT= ARGS=
	$(HLMAT) trajectories $(FLAGS)

.PHONY: train
train: $(VENV)/.train ## fine-tune by a recipe: RECIPE= DATASET= DATA_ROOT= SPLIT= MODEL= ARGS=
	$(HLMAT) train --recipe $(RECIPE) $(DATA_FLAGS) $(if $(MODEL),--model "$(MODEL)") \
		$(if $(RECIPE_OUT),--out "$(RECIPE_OUT)") $(ARGS)

.PHONY: evaluate
evaluate: $(VENV)/.train ## roll a model out and measure it: RECIPE= DATASET= DATA_ROOT= SPLIT= MODEL= OUT= ARGS=
	$(HLMAT) evaluate --recipe $(RECIPE) $(DATA_FLAGS) $(if $(MODEL),--model "$(MODEL)") \
		--out "$(EVALUATION_OUT)" $(ARGS)

.PHONY: star-plus
star-plus: $(VENV)/.train ## improve a model by its own rollouts: RECIPE= ROUNDS= DATASET= DATA_ROOT= SPLIT= ARGS=
	$(HLMAT) star-plus --recipe $(RECIPE) --rounds $(ROUNDS) $(DATA_FLAGS) \
		$(if $(EVALUATION_SPLIT),--evaluation-split $(EVALUATION_SPLIT)) \
		$(if $(MODEL),--model "$(MODEL)") $(ARGS)

# A ladder with reinforcement learning needs TRL too.
LADDER_RL = $(if $(shell grep -ls '^reinforcement:' train_recipes/$(LADDER_RECIPE)/ladder.yaml \
	$(LADDER_RECIPE)/ladder.yaml),$(VENV_RL)/.rl)

.PHONY: ladder
ladder: $(VENV)/.train $(LADDER_RL) ## what StaR+, stopping, search and GRPO each add, and the paper's tables: RECIPE= DEVICE=cuda ARGS=
	$(HLMAT) ladder --recipe $(LADDER_RECIPE) $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)") \
		$(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(MODEL),--model "$(MODEL)") \
		$(if $(LIMIT),--limit $(LIMIT)) $(DEVICE_FLAGS) $(ARGS)

LADDER_SEEDS ?= 1 2
LADDER_NAME = $(notdir $(LADDER_RECIPE))

.PHONY: ladder-seeds
ladder-seeds: ladder ## train the ladder's first rungs with other seeds of training too: LADDER_SEEDS="1 2"
	for seed in $(LADDER_SEEDS); do \
		$(HLMAT) ladder --recipe $(LADDER_RECIPE) --until star-plus --set seed=$$seed $(DEVICE_FLAGS) \
			--model "$(or $(MODEL),out/$(LADDER_NAME)/base)" --first out/$(LADDER_NAME)-seed-$$seed \
			--star out/$(LADDER_NAME)-seed-$$seed-star-plus \
			--out out/$(LADDER_NAME)-seed-$$seed-ladder || exit; \
	done

.PHONY: rl
rl: $(VENV)/.train $(VENV_RL)/.rl ## train a model by its rollouts, with TRL: RECIPE= (mini_grpo) MODEL= ARGS=
	$(HLMAT) rl --recipe $(RL_RECIPE) $(DATA_FLAGS) $(if $(MODEL),--model "$(MODEL)") $(ARGS)

.PHONY: mini
mini: $(VENV)/.train ## the loop closed: build, train and evaluate a small model (20 to 80 minutes, 2 cores)
	$(HLMAT) train --recipe mini
	$(HLMAT) evaluate --recipe mini --out out/mini/test/trained
	$(HLMAT) evaluate --recipe mini --out out/mini/test/shuffled --expressions shuffled
	$(HLMAT) evaluate --recipe mini --out out/mini/test/untrained --model out/mini/base
	$(HLMAT) evaluate --recipe mini --out out/mini/test/centre --policy centre
	$(HLMAT) compare --chart out/mini/iou_by_step.png trained=out/mini/test/trained \
		"other expressions=out/mini/test/shuffled" "base model=out/mini/test/untrained" \
		"centre click=out/mini/test/centre"

# The control that was trained on other targets' expressions, and the learning curve.
MINI_CONTROL := $(HLMAT) train --recipe mini --model out/mini/base
.PHONY: mini-controls
mini-controls: mini ## train mini on shuffled expressions and on parts of the data (hours)
	$(MINI_CONTROL) --out out/mini-shuffled --expressions shuffled
	$(HLMAT) evaluate --recipe mini --model out/mini-shuffled/model --out out/mini-shuffled/test
	for n in 300 1000; do \
		$(MINI_CONTROL) --out out/mini-$$n --limit $$n && \
		$(HLMAT) evaluate --recipe mini --model out/mini-$$n/model --out out/mini-$$n/test || exit; \
	done
	$(HLMAT) compare 300=out/mini-300/test 1000=out/mini-1000/test 2491=out/mini/test/trained \
		--learning-curve out/mini/learning_curve.png
	$(HLMAT) compare trained=out/mini/test/trained "trained on shuffled=out/mini-shuffled/test"

.PHONY: bench-baselines
bench-baselines: $(VENV)/.base ## HLMAT-Bench without a model: centre, random, human clicks, oracle (WORKERS=)
	$(HLMAT) bench baselines out/bench $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

.PHONY: test
test: $(VENV)/.test ## run the tests
	$(BIN)/python -m pytest $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.test ## try every parser on generated inputs: MINUTES=10
	HLMAT_FUZZ_SECONDS=$$((60 * $(MINUTES))) HLMAT_FUZZ_SEED=$$(date +%s) \
		$(BIN)/python -m pytest tests/fuzz -m fuzz -o log_cli=true -o log_cli_level=INFO $(ARGS)

.PHONY: coverage
coverage: $(VENV)/.test ## run the tests and list the lines that they do not reach
	@mkdir -p out/coverage
	$(BIN)/python -m pytest $(ARGS) --cov

.PHONY: test-pins
test-pins: $(VENV)/.test ## run a dependency's tests with its lowest and highest version: PIN=transformers ARGS=
	$(BIN)/python tests/pins.py $(PIN) $(ARGS)

.PHONY: check
check: $(VENV)/.test ## lint, check types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

.PHONY: docs
docs: $(VENV)/.docs ## build the documentation site into out/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.PHONY: schemas
schemas: $(VENV)/.base ## write the JSON Schemas of recipe files: train_recipes/schemas/
	$(BIN)/python -m hlmat.pipelines.cli.schemas train_recipes/schemas

.PHONY: flex-template
flex-template: $(VENV)/.base ## write the metadata of the Dataflow flex template: deploy/trajectories.json
	$(BIN)/python -m hlmat.pipelines.cli.flex_template deploy/trajectories.json

.PHONY: install-train
install-train: $(VENV)/.train ## add what training and models need: LLaMA-Factory, transformers, torch

.PHONY: install-rl
install-rl: $(VENV_RL)/.rl ## make .venv-rl, the environment in which hlmat rl runs TRL

.PHONY: install-sam
install-sam: $(VENV)/.base ## add the segmenter "sam": torch and segment-anything
	$(PIP) -e '.[sam]'

.PHONY: object-store-servers
object-store-servers: $(VENV)/bin/minio $(VENV)/bin/fake-gcs-server ## install the servers that tests of object stores run (needs Go)

$(VENV)/bin/minio: | $(VENV)/bin/python
	GOBIN="$(CURDIR)/$(BIN)" go install github.com/minio/minio@$(MINIO)

$(VENV)/bin/fake-gcs-server: | $(VENV)/bin/python
	GOBIN="$(CURDIR)/$(BIN)" go install github.com/fsouza/fake-gcs-server@$(FAKE_GCS_SERVER)

.PHONY: prism
prism: $(VENV)/.base ## install Prism, Beam's portable runner, to run and test on (needs Go)
	@command -v go > /dev/null || { echo "Go is needed to install Prism: https://go.dev/doc/install" >&2; exit 1; }
	GOBIN="$(abspath $(BIN))" nice go install "github.com/apache/beam/sdks/v2/go/cmd/prism@v$$($(BIN)/python -c \
		'from importlib.metadata import version; print(version("apache-beam"))')"

.PHONY: page-tools
page-tools: build/page_tools/node_modules ## install what checks the page of hlmat view: tsc and axe (needs npm)

build/page_tools/node_modules: tests/page_tools/package.json tests/page_tools/package-lock.json
	@command -v npm > /dev/null || { echo "npm is needed: https://nodejs.org" >&2; exit 1; }
	mkdir -p build/page_tools
	cp $^ build/page_tools/
	cd build/page_tools && npm ci --no-audit --no-fund --ignore-scripts
	touch $@

.PHONY: beam-boot
beam-boot: $(VENV)/.base ## install the program that Beam's worker images start, to run and test it on Prism (needs Go)
	@command -v go > /dev/null || { echo "Go is needed to install it: https://go.dev/doc/install" >&2; exit 1; }
	GOBIN="$(abspath $(BIN))/boot" nice go install "github.com/apache/beam/sdks/v2/python/container@v$$($(BIN)/python -c \
		'from importlib.metadata import version; print(version("apache-beam"))')"
	mv "$(BIN)/boot/container" "$(BIN)/beam-boot" && rmdir "$(BIN)/boot"

.PHONY: clean
clean: ## remove the environment and build files; output is kept
	rm -rf $(VENV) $(VENV_RL) build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(SETTINGS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	$(PIP) -e .
	@touch $@

$(VENV)/.docs: $(SETTINGS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) with what builds the documentation site ..."
	$(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.base

# TRL needs newer datasets than LLaMA-Factory allows, so it has an environment of its own.
$(VENV_RL)/.rl: pyproject.toml constraints-rl.txt | $(VENV)/bin/python
	@echo "Installing TRL into $(VENV_RL) ..."
	$(BIN)/python -m venv $(VENV_RL)
	$(VENV_RL)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-rl.txt -e '.[rl-train]'
	@touch $@

# LLaMA-Factory goes in without its dependencies: its web UI pins pillow<12, Beam needs >=12.1.1.
# The extra "train" lists what its data and training paths import.
$(VENV)/.train: $(SETTINGS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) with everything that training uses ..."
	$(PIP) -e '.[train,sam]'
	$(PIP) --no-deps $(LLAMAFACTORY)
	@touch $@ $(VENV)/.base

$(VENV)/.test: $(SETTINGS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) with everything that the tests use ..."
	$(PIP) -e '.[sam,train,dev]'
	$(PIP) --no-deps $(LLAMAFACTORY)
	@touch $@ $(VENV)/.train $(VENV)/.base
