# make up     set up and run lanjami            make check  set up and run every test
# make bench  measure and write docs/benchmarks.md
# make pages  write the manual pages and completions that are installed with the program
# make image  build the image for Raspberry Pi  make image-check  and test it
VENV ?= .venv
RUN := $(VENV)/bin
export LANJAMI_SCREENSHOTS ?= $(CURDIR)/screenshots

.PHONY: up check format lint types unit integration e2e bench pages image image-check lock clean

up: $(VENV)/run.stamp
	@$(RUN)/lanjami up $(ARGS)

check: lint types
	@scripts/check $(RUN)

lint: $(VENV)/dev.stamp
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .

types: $(VENV)/dev.stamp
	@$(RUN)/mypy

format: $(VENV)/dev.stamp
	@$(RUN)/ruff check --fix .
	@$(RUN)/ruff format .

unit integration: $(VENV)/dev.stamp
	@$(RUN)/pytest tests/$@

e2e: $(VENV)/dev.stamp
	@scripts/lab-packages
	@$(RUN)/pytest tests/e2e

bench: $(VENV)/dev.stamp
	@scripts/lab-packages bench
	@$(RUN)/python -m tests.bench

pages: $(VENV)/dev.stamp
	@rm -rf packaging/share
	@$(RUN)/python -m lanjami.cli.manual packaging/share

image: $(VENV)/run.stamp
	@PYTHON=$(RUN)/python image/build $(ARGS)

image-check: $(VENV)/dev.stamp
	@scripts/image-check $(RUN)

$(VENV)/run.stamp: scripts/setup requirements/run.txt pyproject.toml
	@scripts/setup $(VENV) requirements/run.txt
	@touch $@

$(VENV)/dev.stamp: scripts/setup requirements/dev.txt pyproject.toml
	@scripts/setup $(VENV) requirements/dev.txt
	@touch $@ $(VENV)/run.stamp

lock: $(VENV)/dev.stamp
	@$(RUN)/pip install --quiet uv
	@$(RUN)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade \
		--python-version 3.11 --group build pyproject.toml -o requirements/run.txt
	@$(RUN)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade \
		--python-version 3.11 --group dev pyproject.toml -c requirements/run.txt -o requirements/dev.txt
	@$(RUN)/uv pip compile --quiet --generate-hashes --no-header --upgrade --python-version 3.13 \
		--python-platform aarch64-manylinux_2_34 -c requirements/run.txt pyproject.toml \
		-o requirements/image.txt

clean:
	rm -rf $(VENV)
