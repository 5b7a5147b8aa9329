# Every verb makes its own virtual environment on a fresh machine; nothing but Python 3.11+ is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Most of a real client's time is waiting, so two at a time suit a small machine.
JOBS ?= 2

# Lines and branches of what reads and writes the protocols; of a part of the tests it says nothing.
CORE := printf 'Lines and branches of surfaces/ and kiro/, in percent (95 at least): ' && \
	$(BIN)/coverage report --include='*/surfaces/*,*/kiro/*' --format=total --precision=1 --fail-under=95

.PHONY: help demo test check generate format bench bench-opencode clean

help:
	@echo "make demo     see it work against a simulated AWS, in under a minute"
	@echo "make test     run all tests, real clients included (they are downloaded once)"
	@echo "make check    lint, types, architecture, generated files"
	@echo "make generate write the files that are made of others"
	@echo "make bench    measure start-up and the cost of a streamed event"
	@echo "make bench-opencode   measure what the plugin adds to a start of OpenCode"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $(READY)

demo: $(READY)
	$(BIN)/kiro-auth demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(ARGS)
	$(if $(ARGS),,@$(CORE))

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PYTHONPATH=tests $(BIN)/python -m tools.generate --check

generate: $(READY)
	PYTHONPATH=tests $(BIN)/python -m tools.generate

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

bench-opencode: $(READY)
	PYTHONPATH=tests $(BIN)/python -m bench.opencode $(ARGS)

clean:
	rm -rf $(VENV) dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
