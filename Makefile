# Every verb makes its own virtual environment on a fresh machine; nothing but Python 3.11+ is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Half of their time tests wait for clients that pause, so four at a time suit two processors.
JOBS ?= 4

# What developers and CI install, each file by its hash.
LOCK := tools/developers.txt

# What is tested by itself, without a running program: the protocols, of which lines and branches are counted.
CORE_TESTS := tests/kiro tests/surfaces
CORE_LEAST := 95
MEASURED := --cov=kiro_auth.kiro --cov=kiro_auth.surfaces --cov-report=term:skip-covered --cov-fail-under=$(CORE_LEAST)

# Whoever has nothing left to run takes from the other, as single tests take a minute.  Compiled modules are
# kept whatever the shell says: without them each worker spends seconds on compiling the tests once more.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: help program developers demo test again coverage clients examples quick fuzz chaos check golden generate vendored lock audit pictures format bench bench-opencode bench-fleet clean

help:
	@echo "make demo     see it work against a simulated AWS, in under a minute"
	@echo "make test     run the tests, with the newest release of each real client (downloaded once)"
	@echo "make again    run the few that failed last once more, alone, if they start programs or open connections"
	@echo "make coverage which lines and branches of the protocols their tests reach"
	@echo "make clients  run what real clients and new users meet on rarer ways, and older releases"
	@echo "make examples run the tests that make up their examples, with all of them; make test takes a tenth"
	@echo "make quick    run the tests that start no program and open no connection, with a twentieth of their examples"
	@echo "make fuzz     look for inputs that break the readers, half a minute for each"
	@echo "make chaos    have connections, services, disks and clocks go wrong, in 300 scenarios by their seeds"
	@echo "make check    lint, types, architecture, generated files"
	@echo "make golden   write anew what commands print (tests/golden), to be read before it is committed"
	@echo "make generate write the files that are made of others"
	@echo "make vendored fetch the chart library that the dashboard ships, by version and hash"
	@echo "make lock     choose anew which releases developers and CI install (tools/developers.txt)"
	@echo "make audit    ask the database of the Python Packaging Authority for known holes in those releases"
	@echo "make pictures draw the pictures of README.md anew, from the real programs"
	@echo "make format   lint what can be mended, and format"
	@echo "make bench    measure what the gateway costs, beside nginx"
	@echo "make bench-opencode   measure what the plugin adds to a start of OpenCode"
	@echo "make bench-fleet   count what a fleet of gateways asks its database for, and what that costs"
	@echo "make clean    remove what these have made"
	@echo
	@echo "ARGS are passed on: make test ARGS=--releases=all runs the tests of OpenCode with all its releases,"
	@echo "make test ARGS=tests/login those of one folder."

# The virtual environment with the program alone, or with what its developers need as well.  Looked at each
# time, as the Python of the machine may have become another one.
program developers:
	@tools/venv.sh $(firstword $(MAKECMDGOALS)) $(PYTHON) $(VENV) $@ $(LOCK)

demo: program
	@$(BIN)/kiro-auth demo $(ARGS)

test: developers
ifeq ($(ARGS),)
	$(PYTEST) -m "not clients"
else
	$(PYTEST) $(ARGS)
endif

# Of all releases, as those that `make clients` ran may be among them.
again: developers
	$(PYTEST) -n 0 --releases=all --again

coverage: developers
	$(PYTEST) $(CORE_TESTS) $(MEASURED) --hypothesis-profile=full $(ARGS)

clients: developers
	$(PYTEST) -m "clients or older_releases" --releases=few $(ARGS)

examples: developers
	$(PYTEST) -m hypothesis --hypothesis-profile=full $(ARGS)

# They wait for nothing, so that two of them keep two processors busy, and each more would collect all once more.
quick: developers
	$(PYTEST) -n 2 --quick $(ARGS)

fuzz: developers
	$(BIN)/python -m fuzz $(ARGS)

chaos: developers
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

check: developers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PYTHONPATH=tests $(BIN)/python -m tools.generate --check
	PYTHONPATH=tests $(BIN)/python -m tools.vendored --check

golden: developers
	-KIRO_WRITE_GOLDEN=1 $(PYTEST) -q -n 1 tests/cli/test_golden.py tests/cli/test_golden_processes.py
	git diff --stat tests/golden

generate: developers
	PYTHONPATH=tests $(BIN)/python -m tools.generate

vendored: developers
	PYTHONPATH=tests $(BIN)/python -m tools.vendored

# For every Python and system that the project knows, each file with its hash.
lock: developers
	$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --python-version 3.11 \
	  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
	  --group dev pyproject.toml --output-file $(LOCK)

# Strict, as what the database does not know would else count as sound.
audit: developers
	$(BIN)/uv tool run pip-audit@2.10.1 --strict --require-hashes --disable-pip --requirement $(LOCK)

pictures: developers
	PYTHONPATH=tests $(BIN)/python -m tools.pictures $(ARGS)
	PYTHONPATH=tests $(BIN)/python -m tools.dashboard_pictures

format: developers
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: developers
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

bench-opencode: developers
	PYTHONPATH=tests $(BIN)/python -m bench.opencode $(ARGS)

bench-fleet: developers
	PYTHONPATH=tests $(BIN)/python -m bench.fleet_model $(ARGS)

clean:
	rm -rf $(VENV) dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
