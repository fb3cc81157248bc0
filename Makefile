# SPDX-License-Identifier: GPL-2.0-or-later
#
# godwit: `make help` lists the targets. Output goes to build/ (O=dir for another place).
#   SAN=1     address and undefined-behaviour sanitizers, in build/asan
#   FAULT=1   with the places where tests may kill the process, in build/fault
#   WERROR=1  warnings are errors (always so in `make check`)
#   V=1       show the commands

VERSION := $(shell sed -n 's/^.define GODWIT_VERSION "\(.*\)"/\1/p' include/godwit/version.h)
PREFIX ?= /usr/local
O ?= build
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)
PKG_CONFIG ?= pkg-config
SCDOC ?= scdoc
INSTALL ?= install

# Where things go: one directory for each flavour; BPF objects and skeletons are shared by all.
FLAVOUR := $(if $(SAN),asan)$(if $(and $(SAN),$(FAULT)),-)$(if $(FAULT),fault)
B ?= $(O)$(if $(FLAVOUR),/$(FLAVOUR))
GEN := $(O)/gen
FUZZ := $(O)/fuzz
RACE := $(O)/race

# ---- Flags ----------------------------------------------------------------------------------

PACKAGES := libbpf liburing libxxhash json-c blkid devmapper
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes
INCLUDES := -Iinclude -Isrc/base -Isrc/data -Isrc/format -Isrc/device -Isrc/track \
	-Isrc/handoff -Isrc/observe -Ireplicator -Itools/ssd -Itests/support -isystem $(GEN)
BASE_CPPFLAGS := -D_GNU_SOURCE $(INCLUDES)
BASE_CFLAGS := -std=gnu11 $(WARNINGS) -pthread -fno-omit-frame-pointer
LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null || \
	echo -lbpf -luring -lxxhash -ljson-c -lblkid -ldevmapper) -lelf -lz -pthread
BPF_CFLAGS := -target bpf -mcpu=v3 -g -O2 -Wall -Werror -Ibpf -Iinclude \
	-idirafter /usr/include/$(shell uname -m)-linux-gnu

flavour_flags := $(if $(SAN),$(SANITIZE)) $(if $(FAULT),-DGW_FAULT_POINTS)
# -MD, not -MMD: the skeletons count as system headers, so that warnings in them stay quiet.
compile_flags = -MD -MP $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) $(flavour_flags)
link_flags = $(CFLAGS) $(if $(SAN),$(SANITIZE)) $(LDFLAGS)
fuzz_flags = -MD -MP $(BASE_CPPFLAGS) $(BASE_CFLAGS) -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
race_flags = -MD -MP $(BASE_CPPFLAGS) $(BASE_CFLAGS) -O1 -g -fsanitize=thread
# What a compiler guesses from its optimizer differs from version to version: shown, not fatal.
guesses := format-truncation maybe-uninitialized stringop-overflow stringop-truncation array-bounds
is_clang := $(findstring clang,$(shell $(CC) --version 2>/dev/null))
werror := $(if $(WERROR),-Werror $(if $(is_clang),,$(guesses:%=-Wno-error=%)))

# ---- Files ----------------------------------------------------------------------------------

sources = $(sort $(wildcard $(1)))
lib_src := $(call sources,src/*/*.c) $(call sources,replicator/*.c)
tool_src := $(call sources,tools/godwit/*.c)
# The software SSD: a program of its own. What is not its main() is linked into the tests, too.
ssd_main_src := tools/ssd/ssd_main.c
ssd_src := $(filter-out $(ssd_main_src),$(call sources,tools/ssd/*.c))
bpf_src := $(call sources,bpf/*.bpf.c)
support_src := $(call sources,tests/support/*.c)
unit_src := $(call sources,tests/unit/*.c)
program_src := $(call sources,tests/prop/*.c) $(call sources,tests/fault/*.c) \
	$(call sources,tests/e2e/*.c) $(call sources,bench/*.c)
conform_src := $(call sources,tests/conformance/*.c)
fuzz_src := $(call sources,tests/fuzz/fuzz_*.c)
# Under the thread sanitizer, with no more of the library than has to do with several threads.
race_src := $(call sources,tests/race/race_*.c)
race_ssd_src = $(conform_src) $(support_src) $(ssd_src)
race_lib_src := $(filter src/base/% src/format/% src/data/hist.c src/observe/control_server.c,$(lib_src))
man_src := $(call sources,docs/man/*.scd)
cli_tests := $(filter-out %/lib.sh,$(call sources,tests/cli/*.sh))
# The longest first: what is left for the end are short ones.
e2e_kill := tests/e2e/migrate_kill.sh
e2e_tests := $(e2e_kill) $(filter-out %/lib.sh $(e2e_kill),$(call sources,tests/e2e/*.sh))

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
race_objects = $(patsubst %.c,$(RACE)/obj/%.o,$(1))
fuzz_objects = $(patsubst %.c,$(FUZZ)/obj/%.o,$(1))
programs = $(patsubst tests/%.c,$(1)/%,$(filter tests/$(2)/%,$(program_src)))

skeletons := $(patsubst bpf/%.bpf.c,$(GEN)/%.skel.h,$(bpf_src))
library := $(B)/libgodwit.a
godwit := $(B)/godwit
ssd := $(B)/godwit-ssd
unit_bin := $(if $(unit_src),$(B)/unit/unit)
prop_bin := $(call programs,$(B),prop)
fault_bin := $(call programs,$(B),fault)
e2e_bin := $(call programs,$(B),e2e)
conform := $(B)/conform
bench_bin := $(patsubst bench/%.c,$(B)/bench/%,$(filter bench/%,$(program_src)))
fuzz_bin := $(patsubst tests/fuzz/%.c,$(FUZZ)/%,$(fuzz_src))
race_bin := $(patsubst tests/race/%.c,$(RACE)/%,$(race_src))
race_conform := $(RACE)/conform
man_pages := $(patsubst docs/man/%.scd,$(B)/man/%,$(man_src))

asan_tests := $(patsubst $(B)/%,$(O)/asan/%,$(unit_bin) $(prop_bin) $(fault_bin) $(conform))
fault_godwit := $(if $(tool_src),$(O)/fault/godwit)
asan_godwit := $(if $(tool_src),$(O)/asan/godwit)

# ---- Rules ----------------------------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

Q := $(if $(V),,@)
say = @printf '  %-7s %s\n' $(1) $(2)
# A command line or a list of files that changed makes its users out of date, too.
keep = @mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || \
	printf '%s\n' '$(subst ','\'',$(1))' >$@
# Flavours are built by this Makefile with other variables, in parallel unless told otherwise.
remake = +$(Q)$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc))

.PHONY: all FORCE
all: $(library) $(if $(tool_src),$(godwit)) $(ssd) $(B)/godwit.pc $(B)/godwit@.service ## library, programs (the default)

$(B)/compile.stamp: FORCE
	$(call keep,$(CC) $(compile_flags))
$(B)/library.stamp: FORCE
	$(call keep,$(lib_src))
$(B)/program.stamp: FORCE
	$(call keep,$(CC) $(link_flags) $(LIBS) $(tool_src))
$(B)/ssd.stamp: FORCE
	$(call keep,$(CC) $(link_flags) $(LIBS) $(ssd_src))
$(B)/test.stamp: FORCE
	$(call keep,$(CC) $(link_flags) $(LIBS) $(unit_src) $(support_src) $(ssd_src))
$(FUZZ)/compile.stamp: FORCE
	$(call keep,$(CLANG) $(fuzz_flags) $(lib_src) $(ssd_src))

$(B)/obj/%.o: %.c $(B)/compile.stamp | $(skeletons)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(compile_flags) $(werror) -c -o $@ $<

$(library): $(call objects,$(lib_src)) $(B)/library.stamp
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(godwit): $(call objects,$(tool_src)) $(library) $(B)/program.stamp
	$(call say,LD,$@)
	$(Q)$(CC) $(link_flags) -o $@ $(filter %.o,$^) $(library) $(LIBS)

$(ssd): $(call objects,$(ssd_main_src) $(ssd_src)) $(library) $(B)/ssd.stamp
	$(call say,LD,$@)
	$(Q)$(CC) $(link_flags) -o $@ $(filter %.o,$^) $(library) $(LIBS)

$(B)/godwit.pc: godwit.pc.in Makefile $(B)/prefix.stamp
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(VERSION)|g' $< >$@
$(B)/godwit@.service: tools/godwit/godwit@.service.in Makefile $(B)/prefix.stamp
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|g' $< >$@
$(B)/prefix.stamp: FORCE
	$(call keep,$(PREFIX))

# BPF: `bpftool gen object` drops the debug sections that nobody reads at run time.
$(O)/bpf/%.raw.o: bpf/%.bpf.c Makefile
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/bpf/%.bpf.o: $(O)/bpf/%.raw.o
	$(Q)$(BPFTOOL) gen object $@ $<

$(GEN)/%.skel.h: $(O)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $* >$@

# Test programs: each one with the library and tests/support.
$(B)/unit/unit: $(call objects,$(unit_src) $(support_src) $(ssd_src)) $(library) $(B)/test.stamp
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(link_flags) -o $@ $(filter %.o,$^) $(library) -lcriterion $(LIBS)

$(conform): $(call objects,$(conform_src) $(support_src) $(ssd_src)) $(library) $(B)/test.stamp
	$(call say,LD,$@)
	$(Q)$(CC) $(link_flags) -o $@ $(filter %.o,$^) $(library) $(LIBS)

link_test = @mkdir -p $(@D); $(if $(V),set -x;) $(CC) $(link_flags) -o $@ $(filter %.o,$^) \
	$(library) $(LIBS)
$(prop_bin) $(fault_bin) $(e2e_bin): $(B)/%: $(B)/obj/tests/%.o $(call objects,$(support_src)) \
		$(library) $(B)/test.stamp
	$(call say,LD,$@)
	$(link_test)
$(bench_bin): $(B)/%: $(B)/obj/%.o $(call objects,$(support_src)) $(library) $(B)/test.stamp
	$(call say,LD,$@)
	$(link_test)

$(B)/demo-writer: $(B)/obj/tools/demo/writer.o
	$(call say,LD,$@)
	$(Q)$(CC) $(link_flags) -o $@ $^ $(LIBS)

# What runs a command in a guest of the lab.
$(B)/lab-agent: $(B)/obj/tools/lab/agent.o
	$(call say,LD,$@)
	$(Q)$(CC) $(link_flags) -o $@ $^

$(FUZZ)/obj/%.o: %.c $(FUZZ)/compile.stamp | $(skeletons)
	$(call say,FUZZCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(fuzz_flags) $(if $(WERROR),-Werror) -c -o $@ $<

$(FUZZ)/libgodwit.a: $(call fuzz_objects,$(lib_src)) $(FUZZ)/compile.stamp
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(FUZZ)/libssd.a: $(call fuzz_objects,$(ssd_src)) $(FUZZ)/compile.stamp
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(fuzz_bin): $(FUZZ)/%: $(FUZZ)/obj/tests/fuzz/%.o $(FUZZ)/libssd.a $(FUZZ)/libgodwit.a
	$(call say,LD,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

$(RACE)/compile.stamp: FORCE
	$(call keep,$(CC) $(race_flags) $(race_lib_src) $(race_ssd_src))
$(RACE)/obj/%.o: %.c $(RACE)/compile.stamp
	$(call say,RACECC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(race_flags) $(werror) -c -o $@ $<
$(RACE)/race_ssd: $(call race_objects,$(support_src) $(ssd_src))
$(race_bin): $(RACE)/%: $(RACE)/obj/tests/race/%.o $(call race_objects,$(race_lib_src))
	$(call say,LD,$@)
	$(Q)$(CC) -fsanitize=thread -o $@ $^ $(LIBS)
$(race_conform): $(call race_objects,$(race_ssd_src) $(race_lib_src))
	$(call say,LD,$@)
	$(Q)$(CC) -fsanitize=thread -o $@ $^ $(LIBS)

$(B)/man/%: docs/man/%.scd
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q)$(SCDOC) <$< >$@

$(B)/godwit.bash: $(godwit)
	$(Q)./$(godwit) completion bash >$@

# ---- Targets --------------------------------------------------------------------------------

.PHONY: man tests fuzzers bpf
man: $(man_pages) ## the manual pages
bpf: $(skeletons) ## the BPF programs and their skeletons
tests: $(unit_bin) $(prop_bin) $(fault_bin) $(e2e_bin) $(race_bin) $(conform) ## build the test programs
fuzzers: $(fuzz_bin)

.PHONY: check check-build check-unit check-prop check-fault check-race check-asan check-fuzz check-cli check-e2e check-vm
plain_tests = $(unit_bin) $(prop_bin) $(fault_bin) $(race_bin) $(conform)
run_tests := $(Q)GW_BUILD=$(B) GW_OUT=$(O) tests/run
asan_items = $(asan_tests) $(if $(cli_tests),GW_BUILD=$(O)/asan $(cli_tests) GW_BUILD=$(O))

check: ## everything that must pass before a commit: builds, lint, all tests
	$(Q)tools/setup
	$(remake) check-build WERROR=1
	$(run_tests) $(e2e_tests) -- tools/lint/run $(plain_tests) $(asan_items) $(fuzz_bin) \
		$(cli_tests) $(vm_lanes_of_check)

check-build: all tests fuzzers $(B)/demo-writer $(B)/lab-agent
	$(remake) SAN=1 B=$(O)/asan all tests
	$(remake) FAULT=1 B=$(O)/fault all

check-unit: $(unit_bin) ## unit tests
	$(run_tests) $(unit_bin)
check-prop: $(prop_bin) ## property tests: random steps against a plain model
	$(run_tests) $(prop_bin)
check-fault: $(fault_bin) ## the engine on the model device, a fault at every step
	$(run_tests) $(fault_bin)
check-race: $(race_bin) $(race_conform) ## the threads of a migration and of the software SSD, under the thread sanitizer
	$(run_tests) $(race_bin) $(race_conform)
check-asan: ## unit, property, fault, conformance and command-line tests under the sanitizers
	$(remake) SAN=1 B=$(O)/asan all tests
	$(run_tests) $(asan_items)
check-fuzz: $(fuzz_bin) ## replay each corpus, then a few seconds of new inputs
	$(run_tests) $(fuzz_bin)
check-cli: all ## golden command-line tests
	$(run_tests) $(cli_tests)
check-e2e: all $(e2e_bin) ## real block devices, real BPF (root)
	$(remake) FAULT=1 B=$(O)/fault all
	$(run_tests) $(e2e_tests)

vm_lanes := $(addprefix vm/,$(shell sed -n 's/^\([0-9a-z][^ ]*\).*/\1/p' tests/vm/lanes))
# The others take too long to be a part of it.
vm_lanes_of_check := vm/6.1 vm/6.12-full vm/ssd
# The longest one begins at once; whoever is through takes the next one.
vm_lane_beside := vm/7.x
check-vm: lab-tree ## in virtual machines: NVMe drives, several kernels (GW_VM_ONLY=TEST)
	$(run_tests) $(filter-out vm/ssd $(vm_lane_beside),$(vm_lanes)) -- $(vm_lane_beside)

.PHONY: conformance
conformance: $(conform) ## host managed live migration against the software SSD: item, expected, got
	$(Q)$(conform) --table

.PHONY: mutants demo bench-copy bench-track bench-live bench-live-vm bench-converge bench-ssd lint lab lab-tree
lab-tree: all tests $(B)/lab-agent $(B)/demo-writer
	$(remake) FAULT=1 B=$(O)/fault all
lab: lab-tree ## CMD='...' in a virtual machine with NVMe drives; LAB='options of tools/lab/run'
	$(Q)GW_BUILD=$(B) tools/lab/run $(LAB) -- bash -c '$(subst ','\'',$(or $(CMD),uname -a; ls -l /dev/lab))'
mutants: ## break the code on purpose; each patch must make a test fail
	$(Q)tools/setup
	$(Q)tests/mutants/run
demo: ## migrate a live file system between two scratch devices (root)
	$(Q)tools/setup --build-only
	$(remake) all $(B)/demo-writer
	$(Q)GW_BUILD=$(B) tools/demo/demo
bench-copy: all $(bench_bin) ## copy throughput beside qemu-img, dd and nbdcopy (root)
	$(Q)GW_BUILD=$(B) GODWIT=$(B)/godwit bench/copy.sh
bench-track: all $(bench_bin) ## cost of the tracking per I/O (root)
	$(Q)GW_BUILD=$(B) GODWIT=$(B)/godwit bench/track.sh
bench-converge: all $(bench_bin) ## convergence under a writer (root)
	$(Q)GW_BUILD=$(B) GODWIT=$(B)/godwit bench/converge.sh
bench-live-vm: lab-tree ## a logical volume in use, moved by godwit and by pvmove, in a virtual machine (root)
	$(Q)GW_BUILD=$(B) GODWIT=$(B)/godwit bench/live_vm.sh
bench-live: all $(bench_bin) ## migrations under load, beside QEMU's block job (root)
	$(Q)GW_BUILD=$(B) GODWIT=$(B)/godwit bench/live.sh
bench-ssd: lab-tree ## the software SSD beside the emulator's own NVMe drive, in a guest
	$(Q)GW_BUILD=$(B) bench/ssd.py --kernel 6.12
lint: $(skeletons) ## levels, headers, licences, shell scripts
	$(Q)CC='$(CC)' GEN=$(GEN) tools/lint/run

# Everything that is installed, as "mode source destination"; uninstall reads the same list.
sbindir := $(PREFIX)/sbin
libdir := $(PREFIX)/lib
mandir := $(PREFIX)/share/man
docdir := $(PREFIX)/share/doc/godwit
installed = 755:$(godwit):$(sbindir)/godwit 755:$(ssd):$(sbindir)/godwit-ssd \
	644:$(library):$(libdir)/libgodwit.a \
	$(foreach h,$(call sources,include/godwit/*.h),644:$(h):$(PREFIX)/include/godwit/$(notdir $(h))) \
	644:$(B)/godwit.pc:$(libdir)/pkgconfig/godwit.pc \
	644:$(B)/godwit@.service:$(libdir)/systemd/system/godwit@.service \
	644:$(B)/godwit.bash:$(PREFIX)/share/bash-completion/completions/godwit \
	$(foreach m,$(man_pages),644:$(m):$(mandir)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
	$(foreach d,$(call sources,README.md LICENSE docs/*.md),644:$(d):$(docdir)/$(notdir $(d)))

.PHONY: install uninstall clean help
install: all man $(B)/godwit.bash ## DESTDIR= and PREFIX=/usr/local are respected
	$(Q)set -e; for item in $(installed); do IFS=: read -r mode file to <<< "$$item"; \
		$(INSTALL) -D -m "$$mode" "$$file" "$(DESTDIR)$$to"; done
uninstall: ## remove what install put there
	$(Q)for item in $(installed); do rm -f "$(DESTDIR)$${item##*:}"; done
	$(Q)rmdir --ignore-fail-on-non-empty $(DESTDIR)$(PREFIX)/include/godwit $(DESTDIR)$(docdir) \
		2>/dev/null || true
clean: ## remove the output directory
	$(Q)rm -rf $(O)
help: ## this list
	@echo 'godwit $(VERSION): make [target] [O=dir] [SAN=1] [FAULT=1] [WERROR=1] [CC=clang] [V=1]'
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

install uninstall: SHELL := /bin/bash

every_src := $(lib_src) $(tool_src) $(ssd_main_src) $(ssd_src) $(support_src) $(unit_src) $(program_src) $(conform_src) \
	tools/demo/writer.c tools/lab/agent.c
-include $(wildcard $(patsubst %.c,$(B)/obj/%.d,$(every_src)) \
	$(patsubst %.c,$(FUZZ)/obj/%.d,$(lib_src) $(ssd_src) $(fuzz_src)) \
	$(patsubst %.c,$(RACE)/obj/%.d,$(race_src) $(race_lib_src) $(race_ssd_src)) $(O)/bpf/*.d)
