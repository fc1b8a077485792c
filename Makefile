PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test test-long check format system screenshots clean

help:
	@echo "make demo       a year of real flights through the whole loop"
	@echo "make test       the tests"
	@echo "make test-long  the tests that take long: random kills"
	@echo "make check      lint, format and types"
	@echo "make screenshots PLACES=FOLDER  the pictures of the page in docs/images, of the projects there"
	@echo "make system     what some tests need: chromium, postgresql, and a Label Studio server"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
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

screenshots: $(STAMP)
	PYTHONPATH=tests $(BIN)/python tests/console/take_screenshots.py $(PLACES) $(ARGS)

system:
	./tests/system.sh

clean:
	rm -rf $(VENV) build dist *.egg-info
