VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Unless told, the Python of the environment that is there, else the first of these that is installed.
PYTHON ?= $(or $(notdir $(wildcard $(BIN)/python3.??)),$(shell for python in python3.11 python3.12 python3.13; do \
	$$python -c "" 2>/dev/null && echo $$python && break; done),python3)
OURS := $(BIN)/$(notdir $(PYTHON))

# An environment of another Python than was asked for is made anew.
ifeq ($(wildcard $(OURS)),)
.PHONY: $(STAMP)
endif
.PHONY: help demo test test-long check format docs system screenshots clean

help:
	@echo "make demo       a year of real flights through the whole loop"
	@echo "make test       the tests"
	@echo "make test-long  the tests that take long: random kills"
	@echo "make check      lint, format and types"
	@echo "make docs       the documentation, as a site in site/"
	@echo "make screenshots PLACES=FOLDER  the pictures of the page in docs/images, of the projects there"
	@echo "make system     what some tests need: chromium, postgresql, and a Label Studio server"

$(STAMP): pyproject.toml constraints.txt
	test -x $(OURS) || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/homeostat demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long" $(ARGS)

test-long: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	./tests/link_packages.sh
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "the documentation is in site/index.html"

screenshots: $(STAMP)
	PYTHONPATH=tests $(BIN)/python tests/console/take_screenshots.py $(PLACES) $(ARGS)

system:
	./tests/system.sh

clean:
	rm -rf $(VENV) build dist site *.egg-info
