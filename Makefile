# Build, install, run and test otel-netagent. `make` alone lists the goals.

PYTHON     ?= python3
CLANG      ?= clang
LLVM_STRIP ?= llvm-strip
export PYTHON CLANG LLVM_STRIP

VENV := .venv

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Prerequisites are made in the order in which they are written, also under -j: system packages come before their use.
.NOTPARALLEL:
.PHONY: help setup run test truth-table test-kernels test-kubernetes kernels-table stack stack-build lint bpf lock docs picture clean \
        system system-test system-vm system-stack

help: ## list these goals
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: system bpf $(VENV)/run.stamp ## install what is missing: system packages (apt), eBPF objects, .venv

run: setup ## start the agent, after setup: make run ARGS="-c FILE"
	@echo 'otel-netagent: look at it with $(VENV)/bin/inspector'
	@exec $(VENV)/bin/otel-netagent run $(ARGS)

test: system-test bpf $(VENV)/dev.stamp ## run the tests (root), after setup: make test ARGS="-k tcpreset"
	$(VENV)/bin/pytest $(ARGS)

truth-table: system-test bpf $(VENV)/dev.stamp ## make every fault of the laboratory, print what the agent emitted (root)
	@$(VENV)/bin/python -m tests.faults

test-kernels: system-test system-vm bpf $(VENV)/dev.stamp ## run the agent on kernels 5.10 to the newest, in qemu (root)
	$(VENV)/bin/pytest -m kernels tests/vm $(ARGS)

test-kubernetes: system-test system-stack bpf $(VENV)/dev.stamp ## test against a real API server of Kubernetes, built at first
	$(VENV)/bin/pytest -m apiserver tests/identity/kubernetes $(ARGS)

kernels-table: $(VENV)/dev.stamp ## write docs/kernels.md from the last make test-kernels
	$(VENV)/bin/python -m tests.vm table

stack: setup stack-build ## run the agent with the real collector, Prometheus and VictoriaLogs behind it (root)
	@exec $(VENV)/bin/python -m tools.stack

stack-build: system-stack $(VENV)/run.stamp ## build these programs, which is done once (the tests need them too)
	@$(VENV)/bin/python -m tools.stack build

lint: system bpf $(VENV)/dev.stamp ## check style, types, the directions of imports, and words
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache --no-logo
	$(VENV)/bin/python -m tools.words
	$(CLANG) $(BPF_CFLAGS) -Werror -fsyntax-only $(BPF_SOURCES)


# System packages: looked for each time, since that takes a tenth of a second and needs no network.

system:
	@tools/system-packages.sh run

system-test:
	@tools/system-packages.sh test

system-vm:
	@tools/system-packages.sh vm

system-stack:
	@tools/system-packages.sh stack


# eBPF objects. hatch_build.py comes here too: these flags stand nowhere else.
#
# v3 of the instruction set (32-bit registers and jumps) is the newest that Linux 5.10 knows. One part of it came later, in
# 5.12: atomic operations whose result is used. BTF is made from debug information (-g), the rest of which libbpf does
# not read. Debian keeps <asm/types.h> in the directory of the machine, where clang does not look for another target.

# For another machine: make bpf MACHINE=aarch64 OBJECTS=DIRECTORY, with the headers that Debian has for cross-compiling.

MACHINE    := $(shell uname -m)
OBJECTS    := otel_netagent/_bpf
BPF_ARCH   := $(patsubst x86_64,x86,$(patsubst aarch64,arm64,$(MACHINE)))
BPF_CFLAGS := --target=bpf -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) -O2 -g -ffile-prefix-map=$(CURDIR)=. \
              -Wall -Wextra -Wno-unused-parameter -Ibpf/include \
              -idirafter /usr/include/$(MACHINE)-linux-gnu -idirafter /usr/$(MACHINE)-linux-gnu/include

BPF_SOURCES := $(wildcard bpf/*.bpf.c)
BPF_OBJECTS := $(BPF_SOURCES:bpf/%.c=$(OBJECTS)/%.o)

bpf: $(BPF_OBJECTS) ## compile the eBPF objects

$(OBJECTS)/%.bpf.o: bpf/%.bpf.c Makefile
	@mkdir -p $(@D) build/bpf/$(MACHINE)
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF build/bpf/$(MACHINE)/$*.d -c $< -o $@
	$(LLVM_STRIP) --strip-debug $@

-include $(wildcard build/bpf/$(MACHINE)/*.d)


# The virtual environment. A stamp in it says what it contains; the tests' tools come on top of what the agent needs.

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml hatch_build.py | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --require-hashes --requirement requirements/run.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	$(VENV)/bin/pip install --quiet --require-hashes --requirement requirements/dev.txt
	@touch $@


# The lock files hold for every Python from 3.11. They keep what they have: make lock ARGS=--upgrade takes newer releases.

LOCK := $(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --quiet --custom-compile-command "make lock"

lock: system $(VENV)/bin/python ## write requirements/*.txt from pyproject.toml
	$(VENV)/bin/pip install --quiet 'uv>=0.8,<1'
	$(LOCK) --all-extras --group build --group dev --output-file requirements/dev.txt $(ARGS)
	$(LOCK) --group build --constraint requirements/dev.txt --output-file requirements/run.txt


docs: $(VENV)/run.stamp ## write the reference pages from the probes' declarations
	$(VENV)/bin/python -m tools.reference

picture: setup ## draw docs/session.svg from a run of README's commands (root)
	@$(VENV)/bin/python -m tools.picture


clean: ## delete everything that these goals made
	rm -rf $(VENV) build dist otel_netagent/_bpf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find otel_netagent lab tests bench tools -name __pycache__ -prune -exec rm -r {} +
