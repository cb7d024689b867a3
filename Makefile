# Two commands do everything from a bare checkout: `make demo` and `make test`.
PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
PYTHONS := 3.11 3.12 3.13
PLATFORMS := x86_64-manylinux_2_28 aarch64-apple-darwin

.PHONY: help setup demo test nightly check platforms bench lock clean

help:
	@echo "make demo    set up, then run the whole loop on a simulated world (about 4 minutes)"
	@echo "make test    set up, then run the tests (about 20 minutes on two cores)"
	@echo "make nightly what takes longer: a hundred kills, many random sequences (up to an hour; resumable)"
	@echo "make check   linters, types, structure, and whether every platform has its wheels"
	@echo "make bench   the benchmark against scglue (hours; resumable)"
	@echo "make lock    pin the requirements again"

setup: $(VENV)/.ready

# The stamp is written last, so an interrupted set-up starts again.
$(VENV)/.ready: requirements.txt pyproject.toml
	@echo "setting up $(VENV): about 3 GB with PyTorch, a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup
	$(BIN)/regkg demo

# Two workers, each with a Neo4j and one thread of arithmetic; the tests of a file stay together, since they share what
# is dear.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: setup
	@echo "about 20 minutes on two quiet cores, and 2 more where Neo4j has to be downloaded and prepared"
	$(PYTEST) -m "not slow and not gpu"

nightly: setup
	@echo "up to an hour; after a kill, make nightly goes on with what has not passed yet (.cache/nightly)"
	REGKG_KILLS=100 REGKG_EXAMPLES=100 $(PYTEST) --resume .cache/nightly -o budgets= -m "(slow or soak) and not gpu"

check: setup platforms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell kg loaders models api cli tests docs README.md CHANGELOG.md

# Whether everything installs from wheels alone; what is resolved is thrown away.
platforms: setup
	@for python in $(PYTHONS); do for platform in $(PLATFORMS); do echo $$python $$platform; done; done \
	| xargs -P 6 -L 1 sh -c '$(BIN)/uv pip compile --quiet --only-binary :all: --all-extras --no-emit-index-url \
	  --python-version $$0 --python-platform $$1 pyproject.toml >/dev/null \
	  || { echo "not everything has a wheel for Python $$0 on $$1" >&2; exit 1; }'

bench: setup
	$(BIN)/python tests/bench/glue_vs_scglue.py

lock:
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --all-extras --group test --group lint pyproject.toml --output-file requirements.txt --quiet

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
