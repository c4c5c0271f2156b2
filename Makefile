# Two commands: `make demo` shows what omnisae does, `make test` runs everything. Both make .venv where it is absent.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PROJECTS := pyproject.toml datasets/pyproject.toml $(wildcard plugins/*/pyproject.toml)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests run side by side: threads that wait by spinning would take each other's cores.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test test-fast lint bench bench-docs clean install

install: $(READY)

$(READY): $(PROJECTS) requirements-dev.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "omnisae needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt -c constraints.txt
	touch $@

demo: $(READY)
	$(BIN)/omnisae run configs/vision/quickstart.yaml --out runs/shapes
	$(BIN)/omnisae run configs/single_cell/quickstart.yaml --out runs/pbmc
	@echo
	@echo "Open the reports in a browser:"
	@echo "  vision       $(CURDIR)/runs/shapes/report/index.html"
	@echo "  single cell  $(CURDIR)/runs/pbmc/report/index.html"

test: $(READY) lint
	sh tests/browser/install_chromium.sh
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not browser"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Side by side with other libraries, which it installs into benchmarks/.venv. QUICK=1: less than six minutes.
bench: $(READY)
	$(BIN)/python -m benchmarks.bench $(if $(QUICK),--quick)

# docs/speed.md and its pictures, from the files that `make bench` stored.
bench-docs: $(READY)
	$(BIN)/python -m benchmarks.bench --page

clean:
	rm -rf .venv benchmarks/.venv runs
