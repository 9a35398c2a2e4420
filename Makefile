# Everything happens in .venv of this checkout. Python 3.11 or later is assumed; a C++ compiler makes sampling fast.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: venv demo test coverage check sanitize clean

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

# Which lines and branches of src/ the tests reach: takes a third longer.
coverage: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses=auto --cov --cov-report=term

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The kernels' tests with sanitizers in the extension. Without site (-S), so that the installed one is not found first.
sanitize: $(INSTALLED)
	rm -rf build/sanitize
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/sanitize \
	  --config-settings=cmake.build-type=RelWithDebInfo \
	  --config-settings=cmake.define.CMAKE_CXX_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all" .
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 \
	  PYTHONPATH=build/sanitize:$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
	  $(BIN)/python -S -m pytest tests/native tests/engine/test_bits.py -p no:cacheprovider

clean:
	rm -rf .venv build dist runs .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
