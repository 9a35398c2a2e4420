# Everything happens in .venv of this checkout. Python 3.11 or later is assumed; a C++ compiler makes sampling fast.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: venv demo test check clean

venv: $(INSTALLED)

# torch first and by itself: the same range as in pyproject.toml, so that the second install keeps the build chosen here.
$(INSTALLED): pyproject.toml CMakeLists.txt $(wildcard src/nsm/native/*.cpp src/nsm/native/*.hpp)
	@echo "Installing into .venv: a few minutes at the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch>=2.8,<2.14"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

# Trains a network and its conventional twin on small digits and writes runs/demo/report.html.
demo: $(INSTALLED)
	$(BIN)/nsm reproduce digits

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses=auto

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv build dist runs .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
