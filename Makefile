# Everything a reader, an author or a researcher types. `make` alone lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PROFILE ?= quick
JOBS ?=
CHAPTER ?=
PARAMS ?=
CLAIM ?=
CASES ?=
FIGURE ?=
SCALE ?= paper
ARGS ?=
GRID ?=
SCHEDULER ?=
PORT ?= 8000
UPGRADE ?=
PROCS ?= 2
# Recipes read them from the environment, where blanks and quotation marks are only letters.
export PROFILE JOBS CHAPTER PARAMS CLAIM FIGURE SCALE GRID SCHEDULER PORT PROCS

# An active conda environment made from environment.yml is used as it is; otherwise .venv.
ifeq ($(CONDA_DEFAULT_ENV),localgd)
PYTHON := python
STAMP :=
else
PYTHON := .venv/bin/python
STAMP := .venv/.complete
endif

.PHONY: help env book chapter sweep serve lab pdf test mutate test-browser bench check claims status fetch machines record record-real record-check gpu-check clean lock

help: ## list what there is to type
	@echo "The executable edition of Zhang & Li (2019). Type make and one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='|' read -r name text; do printf '%-13s %s\n' "$$name" "$$text"; done

env: $(STAMP) ## make the environment (.venv) from requirements.lock

book: $(STAMP) ## build the book: build/html/index.html [PROFILE=quick|paper] [JOBS=n]
	@$(PYTHON) -m bookrun build --profile "$$PROFILE" $(if $(JOBS),--jobs "$$JOBS")

chapter: $(STAMP) ## run and render one chapter: CHAPTER=linear [PARAMS="rounds=500"] [PROFILE=…]
	@$(if $(CHAPTER),,echo 'Which chapter? For example: make chapter CHAPTER=linear' >&2; exit 2)
	@$(PYTHON) -m bookrun chapter "$$CHAPTER" --profile "$$PROFILE" --params "$$PARAMS"

sweep: $(STAMP) ## run a chapter over a grid: GRID=sweeps/lines-angle.yaml [JOBS=n] [SCHEDULER=…] [ARGS=--dry-run]
	@$(if $(GRID),,echo 'Which grid? One of:' sweeps/*.yaml >&2; exit 2)
	@$(PYTHON) -m bookrun sweep "$$GRID" $(if $(JOBS),--jobs "$$JOBS") \
	  $(if $(SCHEDULER),--scheduler "$$SCHEDULER") $(ARGS)

serve: $(STAMP) ## serve the book on this machine, rebuild it on every save [PORT=8000]
	@$(PYTHON) -m bookrun serve --port "$$PORT" --profile "$$PROFILE" $(if $(JOBS),--jobs "$$JOBS")

pdf: $(STAMP) ## bring the book up to date and print it: build/book.pdf (needs Chromium)
	@$(PYTHON) -m bookrun pdf --profile "$$PROFILE" $(if $(JOBS),--jobs "$$JOBS")

lab: $(STAMP) ## open the chapters in JupyterLab, as notebooks [ARGS="--no-browser"]
	@$(PYTHON) -m bookrun lab $(if $(ARGS),-- $(ARGS))

# A file stays in one process, which starts its kernels and Sphinx once.  A whole run leaves what its
# claim tests found to make book, and does not repeat what still stands.
test: $(STAMP) ## run the tests, side by side [CLAIM=lem1: those of one claim] [ARGS=…]
	@$(PYTHON) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile \
	  $(if $(CLAIM),--claim="$$CLAIM",$(if $(ARGS),,--claim-reuse --claim-evidence=build/evidence/tests.json)) $(ARGS)

mutate: $(STAMP) ## change each claim's formula and see its verdict turn [CLAIM=lem1] [JOBS=n]
	@$(PYTHON) -m bookrun mutate $(if $(CLAIM),--claim "$$CLAIM") $(if $(JOBS),--jobs "$$JOBS")

test-browser: $(STAMP) ## open every page of the built book in Chromium, offline [ARGS=…]
	@$(PYTHON) -m pytest tests/browser $(ARGS)

check: $(STAMP) ## format, lint, types, and which room may import which
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -c "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"

claims: $(STAMP) ## print the claims ledger with its computed verdicts
	@$(PYTHON) -m bookrun claims --profile "$$PROFILE"

status: $(STAMP) ## say for each chapter whether it is fresh, and if not, why
	@$(PYTHON) -m bookrun status --profile "$$PROFILE"

fetch: $(STAMP) ## bring the data that the chapters use into the cache
	@$(PYTHON) -m bookrun fetch

record: $(STAMP) ## run a network figure in full, or go on: FIGURE=fig4a [SCALE=paper|cpu] [ARGS=--again]
	@$(if $(FIGURE),,echo 'Which figure? For example: make record FIGURE=fig4a' >&2; exit 2)
	@$(PYTHON) -m bookrun record "$$FIGURE" --scale "$$SCALE" $(ARGS)

record-real: $(STAMP) ## keep what make book found on the real data, for readers without them: recorded/real-run.json
	@$(PYTHON) -m bookrun record-real

record-check: $(STAMP) ## run the beginnings of all records again and compare [FIGURE=fig4a] [ARGS="--steps 500"]
	@$(PYTHON) -m bookrun record-check $(if $(FIGURE),"$$FIGURE") $(ARGS)

gpu-check: $(STAMP) ## check the loop on the GPU that is here: recorded/gpu-check.json [ARGS="--minutes 5"]
	@PYTHONPATH=lib $(PYTHON) -m bookrun.commands.gpu_check $(ARGS)

clean: ## remove everything generated, but not .venv
	rm -rf build

# The stamp comes last: an installation that was cut short is taken up again.
.venv/.complete: requirements.lock pyproject.toml
	@python=; \
	for name in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer is needed; python3 here is $$(python3 --version 2>&1 || true)." >&2; \
	  echo "Install one (python.org, your system's packages, or conda), then type make env again." >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$python lacks the venv module; on Debian and Ubuntu: apt install python3-venv." >&2; exit 1; \
	fi; \
	rm -f $@; \
	if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  rm -rf .venv; "$$python" -m venv .venv; \
	fi
	@echo "Installing requirements.lock into .venv (once; some minutes; 2.4 GB, several more with CUDA)"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

bench: $(STAMP) ## compare speeds: build/bench.json [CASES="1 3"] [ARGS=…]
	@$(PYTHON) -m bench $(CASES) $(ARGS)

machines: $(STAMP) ## run LeNet in several processes under torchrun and print what rounds cost [PROCS=2] [ARGS="--rounds 5"]
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PYTHON) -m torch.distributed.run --standalone \
	  --local-addr=localhost --nproc-per-node="$$PROCS" examples/lenet_torchrun.py $(ARGS)

lock: ## bring requirements.lock up to the names in pyproject.toml [UPGRADE=1: newest versions]
	@rm -rf build/lock && mkdir -p build
	@$(if $(STAMP),python3,python) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check \
	  $(if $(UPGRADE),,-c requirements.lock) '.[book,dev]'
	@build/lock/bin/python -m pip freeze --all | PYTHONPATH=lib $(PYTHON) -m bookrun.commands.lock > requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@rm -rf build/lock
