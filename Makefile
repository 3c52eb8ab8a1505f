# Needs only make and Python >= 3.11 with its venv module. Every target sets up what it uses.
#   make demo      the same application in three modes, against simulated providers
#   make test      the tests, in 2 processes   (make test ARGS="tests/runtime -k deadline" WORKERS=0)
#   make faults    every fault in every case, one table; the last line says how many went wrong
#   make lint      ruff, mypy, pyright, import contracts, file length
#   make bench     against other clients, and against their own goals   (make bench ARGS="--quick --case unary")
#   make docs      the documentation, into site/
#   make coverage  the tests, with branch coverage
#   make lock      requirements-dev.txt from pyproject.toml   (make lock ARGS=--upgrade)
#   make otel-backends  real OpenTelemetry backends, told of calls and asked about them (2 GB, minutes)
#   make clean     removes everything the targets above made

PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/.ready

DEMO_VENV := .venv-demo
DEMO := $(DEMO_VENV)/.ready

LOCK := requirements-dev.txt
LOCK_VENV := .venv-lock
LOCK_EXTRAS := --extra aiohttp --extra cli --extra redis --extra schedules --extra schemas

BENCH_VENV := .venv-bench-

PHOENIX_VENV := .venv-phoenix
PHOENIX := arize-phoenix==20.26.1
MLFLOW_VENV := .venv-mlflow
MLFLOW := mlflow==3.17.2

SOURCES := $(shell find src examples -type f ! -name '*.pyc')
LONGEST := 400

export NO_MKDOCS_2_WARNING := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: bench demo test faults coverage lint docs otel-backends lock clean

demo: $(DEMO)
	$(DEMO_VENV)/bin/hybrid-infer demo $(ARGS)

test: $(DEV)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

faults: $(DEV)
	@PYTHONPATH=tests $(BIN)/python -m faults $(ARGS)

coverage: $(DEV)
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	@echo "no Python file above $(LONGEST) lines"
	@awk 'FNR == $(LONGEST) + 1 { print FILENAME ": more than $(LONGEST) lines"; bad = 1 } END { exit bad }' \
		$$(find src tests examples docs -name '*.py')

# The program asks for the environments that it needs: the targets below.
bench: $(DEV)
	@$(BIN)/python benchmarks/run.py $(ARGS)

# Ours as a user has it, without the tools of development. Its date is that of the newest source.
$(BENCH_VENV)hybrid-infer/.ready: pyproject.toml README.md LICENSE $(SOURCES)
	@$(call require_python)
	test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet '.[aiohttp]'
	touch $@

# What cannot be installed here is left out of the comparison, and `.missing` says why.
$(BENCH_VENV)%/.ready: benchmarks/peers/%.txt
	@$(call require_python)
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --requirement $< 2> $(@D)/.errors \
		|| { grep -m 1 ERROR $(@D)/.errors > $(@D)/.missing || echo "pip failed" > $(@D)/.missing; }
	touch $@

docs: $(DEV)
	$(BIN)/python docs/generate_settings.py --check
	$(BIN)/python docs/generate_operations.py --check
	$(BIN)/mkdocs build --strict --quiet

# Each backend in an environment of its own: they pin what we do not.
otel-backends: $(DEV) $(PHOENIX_VENV)/$(PHOENIX) $(MLFLOW_VENV)/$(MLFLOW)
	PYTHONPATH=tests $(BIN)/python -m otel_backends phoenix=$(PHOENIX_VENV) mlflow=$(MLFLOW_VENV) $(ARGS)

$(PHOENIX_VENV)/$(PHOENIX) $(MLFLOW_VENV)/$(MLFLOW):
	@$(call require_python)
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(@F)
	touch $@

# Rebuilt from nothing when the lock changes, so that it holds what the lock names and no more.
$(DEV): $(LOCK) pyproject.toml
	@$(call require_python)
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

# Installed as a user would: not editable, and no extra but the one the command line needs.
$(DEMO): pyproject.toml README.md LICENSE $(SOURCES)
	@$(call require_python)
	test -x $(DEMO_VENV)/bin/pip || $(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet '.[cli]'
	touch $@

# `--universal`: one file for every platform and every Python the package supports.
lock:
	@$(call require_python)
	test -x $(LOCK_VENV)/bin/uv || $(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet --upgrade uv
	env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_FIND_LINKS -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL \
		$(LOCK_VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
		--group dev $(LOCK_EXTRAS) --custom-compile-command "make lock" --output-file $(LOCK) $(ARGS) pyproject.toml
	@if grep -nE '://|^-' $(LOCK); then echo "$(LOCK) must hold no address and no option"; exit 1; fi

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(LOCK_VENV) $(PHOENIX_VENV) $(MLFLOW_VENV) $(BENCH_VENV)* build dist site htmlcov .coverage
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests examples docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

define require_python
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
endef
