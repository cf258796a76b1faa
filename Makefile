# Everything from a clean clone: `make up`, `make test`. Each target makes `.venv` first, where it is missing or stale.
PYTHON ?= python3
WORKERS ?= 4
ARGS ?=

BIN := .venv/bin
READY := .venv/.laurels-ready
PACKAGES := schemas sinks streams api ops migrations

.PHONY: help up test check bench format lock clean
help:
	@echo "make up       the whole of Laurels on this machine, with a demo season (ARGS=... for more options)"
	@echo "make test     the tests, on real services"
	@echo "make check    everything but the tests that CI asks of a change"
	@echo "make bench    the benchmarks"
	@echo "make format   write the code the way the formatter wants it"
	@echo "make lock     write the lock files anew from pyproject.toml"
	@echo "make clean    forget .venv and the caches; keeps .laurels, where your data are"

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 15) or sys.exit("Laurels needs Python 3.11 to 3.14: make PYTHON=...")'
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "installing what requirements.lock says into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

up: $(READY)
	@exec $(BIN)/laurels up --demo $(ARGS)

test: $(READY)
	@$(BIN)/pytest -n $(WORKERS) --maxschedchunk 1 $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry .
	$(BIN)/python -m schemas.generate --check
	$(BIN)/python -m tests.services.drift

bench: $(READY)
	@$(BIN)/laurels bench $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate

lock: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) --all-extras pyproject.toml --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock pyproject.toml deploy/requirements.in --output-file deploy/requirements.lock

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
