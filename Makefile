# Pagoda's build. `make help` says what there is; README.md says what it is for.
#
#   make run                              boot through GRUB into a shell
#   make run BOOT=pvh SMP=4 CMD='ktest'   run a command, power off, exit status
#   make test                             everything that is tested
#
# Output lies in build/release, or build/debug with DEBUG=1. How QEMU is called: tools/qemu.py.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

DEBUG ?= 0
LLVM  ?= 0
WERROR ?= 0

O      := build/$(if $(filter 1,$(DEBUG)),debug,release)
KERNEL := $(O)/pagoda.elf
INITRD := $(O)/initrd.cpio
INITRD_TESTS := $(O)/initrd-tests.cpio
ISO    := $(O)/pagoda.iso

# ---- tools ---------------------------------------------------------------------------------------

ifeq ($(LLVM),1)
CC      := clang --target=x86_64-linux-gnu
LD      := ld.lld
NM      := llvm-nm
OBJCOPY := llvm-objcopy
else
CC      := $(CROSS_COMPILE)gcc
LD      := $(CROSS_COMPILE)ld
NM      := $(CROSS_COMPILE)nm
OBJCOPY := $(CROSS_COMPILE)objcopy
endif
NASM    := nasm
USER_CC := musl-gcc
PYTHON  := $(shell ./setup --python)

# Functions in tables take what the table says: an unused parameter is no sign of anything.
CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Wno-unused-parameter \
	-ffreestanding -fno-pic -fno-strict-aliasing -fno-common -fno-delete-null-pointer-checks \
	-fomit-frame-pointer -fasynchronous-unwind-tables \
	-m64 -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fcf-protection=none \
	-fstack-protector-strong -mstack-protector-guard=tls -mstack-protector-guard-reg=gs \
	-mstack-protector-guard-offset=40 \
	-Ikernel -Iinclude -I. -DCONFIG_DEBUG=$(DEBUG) -DCONFIG_SEEDED=$(DEBUG) $(if $(filter 1,$(WERROR)),-Werror)
NASMFLAGS  := -f elf64 -g -F dwarf -I. -Ikernel/ -w+error=all -DCONFIG_DEBUG=$(DEBUG)
LDFLAGS    := -nostdlib -static -no-pie -z max-page-size=4096 -z noexecstack --build-id=none \
	-T linker.ld
USER_CFLAGS := -std=gnu11 -static -O2 -g0 -s -Wall -Wextra -Iuser/programs -Iservers/lib -Iinclude \
	-ffunction-sections -Wl,--gc-sections -Wl,-z,noseparate-code \
	$(if $(filter 1,$(WERROR)),-Werror)
APART_LDFLAGS := -Wl,--no-gc-sections -Wl,-z,norelro -Wl,-z,max-page-size=0x200000

# Short lines; V=1 shows the commands.
ifeq ($(V),1)
say = @:
else
MAKEFLAGS += --silent
say = @printf '  %-7s %s\n'
endif

# ---- what is built from what ---------------------------------------------------------------------

C_SRC    := $(wildcard kernel/*.c kernel/*/*.c boot/*.c tests/kernel/*.c)
ASM_SRC  := $(wildcard kernel/*.asm kernel/*/*.asm boot/*.asm)
OBJ      := $(C_SRC:%=$(O)/%.o) $(ASM_SRC:%=$(O)/%.o)
USER_LIB := $(wildcard user/programs/lib*.c)
USER_SRC := $(filter-out $(USER_LIB),$(wildcard user/programs/*.c))
# hugetext has 2 MiB of text, which the initrd of every boot would carry: it stands apart, with the tests.
APART    := $(O)/apart/hugetext
PROGRAMS := $(filter-out %/hugetext,$(USER_SRC:user/programs/%.c=$(O)/initrd/bin/%))

# A server is a folder with a main.c; servers/lib is what they share, with two parsers of the kernel's.
SERVER_LIB   := $(wildcard servers/lib/*.c) servers/kernel/lib/elf.c servers/kernel/lib/cpio.c
SERVER_NAMES := $(patsubst servers/%/main.c,%,$(wildcard servers/*/main.c))
SERVERS      := $(SERVER_NAMES:%=$(O)/initrd/servers/%)
SERVER_OBJ   := $(patsubst %,$(O)/%.o,$(SERVER_LIB) $(wildcard servers/*/*.c))

# Debian's busybox-static, as ./setup installs it.
BUSYBOX := $(firstword $(wildcard /bin/busybox /usr/bin/busybox))
ROOT_FILES := $(shell find user/root)

.PHONY: all run test cve external linux soak iso check bench gdb clean help FORCE
all: $(KERNEL) $(INITRD) $(INITRD_TESTS) $(O)/linux-init
iso: $(ISO)

# A file holding the flags, rewritten only when they change: every object depends on it.
FLAGS_TEXT = $(CC) $(CFLAGS) | $(NASM) $(NASMFLAGS) | $(LD) $(LDFLAGS) | $(USER_CC) $(SERVER_CFLAGS) \
	$(APART_LDFLAGS)
$(O)/flags: FORCE | $(O)/setup-run
	@mkdir -p $(@D)
	@echo '$(FLAGS_TEXT)' | cmp -s - $@ || echo '$(FLAGS_TEXT)' > $@

# Tools are looked for once per build directory; ./setup installs what is missing. The groups are
# run (build and boot), test and check.
export CROSS_COMPILE LLVM
$(O)/setup-%: setup
	@mkdir -p $(@D)
	@./setup --quiet --for $* && touch $@

$(O)/%.c.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(O)/%.asm.o: %.asm $(O)/flags
	@mkdir -p $(@D)
	$(say) NASM $<
	$(NASM) $(NASMFLAGS) -MD $(@:.o=.d) -MP -MT $@ -o $@ $<

-include $(OBJ:.o=.d) $(SERVER_OBJ:.o=.d)

# The list of objects: removing a source file links again.
$(O)/objects: FORCE
	@mkdir -p $(@D)
	@echo '$(OBJ) $(SERVER_OBJ)' | cmp -s - $@ || echo '$(OBJ) $(SERVER_OBJ)' > $@

# Two links. The first has an empty symbol table; the second has the names and addresses of the
# first. The table lies behind all code, so no function moves in between (and ksyms.py checks it).
$(O)/pass1.elf: $(OBJ) $(O)/objects linker.ld tools/ksyms.py
	$(say) LD $@
	$(PYTHON) tools/ksyms.py --empty > $(O)/ksyms0.c
	$(CC) $(CFLAGS) -c $(O)/ksyms0.c -o $(O)/ksyms0.o
	$(LD) $(LDFLAGS) -o $@ $(OBJ) $(O)/ksyms0.o

$(KERNEL): $(O)/pass1.elf
	$(say) LD $@
	$(NM) -n $< | $(PYTHON) tools/ksyms.py > $(O)/ksyms1.c
	$(CC) $(CFLAGS) -c $(O)/ksyms1.c -o $(O)/ksyms1.o
	$(LD) $(LDFLAGS) -o $@ $(OBJ) $(O)/ksyms1.o
	@$(NM) -n $@ | $(PYTHON) tools/ksyms.py | cmp -s - $(O)/ksyms1.c || \
		{ echo "$@: functions moved between the two links" >&2; rm -f $@; exit 1; }

# ---- the initrd: servers, our programs, busybox, ROOT's files in /root -----------------------------

# A program that is more than one file has the others in a folder of its name.
$(O)/initrd/bin/%: user/programs/%.c $(USER_LIB) $(wildcard user/programs/*.h) $(O)/flags
	@mkdir -p $(@D)
	$(say) MUSL $<
	$(USER_CC) $(USER_CFLAGS) -o $@ $< $(wildcard user/programs/$*/*.c) $(USER_LIB)

# scenario.c takes the text of its scenarios in with .incbin.
$(O)/initrd/bin/scenario: tests/linux/scenarios.txt $(wildcard user/programs/scenario/*)

# Its text is laid out so that one huge page can map it.
$(O)/apart/%: user/programs/%.c $(USER_LIB) $(wildcard user/programs/*.h) $(O)/flags
	@mkdir -p $(@D)
	$(say) MUSL $<
	$(USER_CC) $(USER_CFLAGS) $(APART_LDFLAGS) -o $@ $< $(USER_LIB)

# -iquote: <sched.h> is the C library's, "lib/elf.h" the kernel's, "native.h" the servers'.
# -flto: a call runs through several files of a server, which is then compiled as one.
SERVER_CFLAGS := $(USER_CFLAGS) -flto=auto -Wno-unused-parameter -iquote servers/lib -iquote kernel
$(O)/servers/%.c.o: servers/%.c $(O)/flags
	@mkdir -p $(@D)
	$(say) MUSL $<
	$(USER_CC) $(SERVER_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/servers/kernel/%.c.o: kernel/%.c $(O)/flags
	@mkdir -p $(@D)
	$(say) MUSL $<
	$(USER_CC) $(SERVER_CFLAGS) -MMD -MP -c -o $@ $<

define server
$(O)/initrd/servers/$(1): $(patsubst %,$(O)/%.o,$(SERVER_LIB) $(wildcard servers/$(1)/*.c)) $(O)/objects
	@mkdir -p $$(@D)
	$$(say) MUSL $$@
	$$(USER_CC) $$(SERVER_CFLAGS) -o $$@ $$(filter %.o,$$^)
endef
$(foreach name,$(SERVER_NAMES),$(eval $(call server,$(name))))

$(O)/commands: kernel/monitor/commands.c tools/commands.py
	@mkdir -p $(@D)
	$(PYTHON) tools/commands.py $(if $(filter 1,$(DEBUG)),--debug) > $@

$(O)/initrd.from: FORCE
	@mkdir -p $(@D)
	@echo '$(SERVERS) $(PROGRAMS) $(BUSYBOX) $(ROOT)' | cmp -s - $@ || \
		echo '$(SERVERS) $(PROGRAMS) $(BUSYBOX) $(ROOT)' > $@

INITRD_PARTS := $(SERVERS) $(PROGRAMS) $(O)/commands $(BUSYBOX) $(ROOT_FILES)
mkinitrd = $(PYTHON) tools/mkinitrd.py --output $@ --tree user/root $(SERVERS:%=--server %) \
	$(PROGRAMS:%=--bin %) --commands $(O)/commands $(BUSYBOX:%=--busybox %)

$(INITRD): $(INITRD_PARTS) $(O)/initrd.from tools/mkinitrd.py $(if $(ROOT),FORCE)
	$(say) CPIO $@
	$(mkinitrd) $(if $(ROOT),--root '$(ROOT)')

$(INITRD_TESTS): $(INITRD_PARTS) $(APART) $(O)/initrd.from tools/mkinitrd.py
	$(say) CPIO $@
	$(mkinitrd) $(APART:%=--bin %)

$(ISO): $(KERNEL) $(INITRD) iso/boot/grub/grub.cfg tools/mkiso.sh
	$(say) ISO $@
	OBJCOPY='$(OBJCOPY)' tools/mkiso.sh $@ $(KERNEL) $(INITRD) iso

# ---- running -------------------------------------------------------------------------------------

# CMD goes into a file unexpanded: neither make nor the shell sees its $ and quotes. (Exporting it
# to the recipe's environment would expand it.)
unexport CMD
QEMU = $(PYTHON) tools/qemu.py --build $(O)
cmd_file = $(if $(value CMD),$(eval CMD_FILE := $(shell mktemp))$(file >$(CMD_FILE),$(value CMD))--take-cmd $(CMD_FILE))

run: $(if $(filter pvh,$(BOOT)),$(KERNEL) $(INITRD),$(ISO))
	@$(QEMU) run $(cmd_file)

gdb: $(KERNEL)
	@$(QEMU) gdb

# Runs in QEMU on this machine: built with its own compiler, whatever the kernel is built with.
build/tcg_count.so: tools/tcg_count.c | $(O)/setup-test
	@mkdir -p $(@D)
	$(say) HOSTCC $<
	gcc -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -shared -fPIC -o $@ $<

bench: $(KERNEL) $(INITRD) $(ISO) build/tcg_count.so
	@$(PYTHON) tools/bench.py --build $(O) --plugin build/tcg_count.so

# ---- tests ---------------------------------------------------------------------------------------

# tools/test.py runs the host tests and the QEMU scenarios and prints "N passed, N failed". Scenarios
# that inject failures use the debug build.
test: $(O)/setup-test all $(ISO)
	@$(MAKE) --no-print-directory DEBUG=1 all
	@$(PYTHON) tools/test.py --build $(O)

# Mistakes of other kernels: the scenario of each passes, and notices the mistake when it is made.
cve: $(O)/setup-test
	@$(MAKE) --no-print-directory DEBUG=1 build/debug/pagoda.elf build/debug/initrd.cpio
	@$(PYTHON) tools/cve.py --build build/debug

# Programs from Linux's own sources, here and on Debian's Linux kernel: both verdicts.
external: $(O)/setup-external $(KERNEL) $(INITRD)
	@$(PYTHON) tools/external.py --build $(O)

# The long runs; RUNS='sequences calls-1' chooses some of them, DIVIDE=10 makes them a tenth as long.
DIVIDE ?= 1
soak: $(O)/setup-test $(O)/setup-linux $(KERNEL) $(INITRD) $(O)/linux-init
	@$(PYTHON) tools/soak.py --build $(O) --divide $(DIVIDE) $(RUNS)

# The first process of the Linux guest: a program like the others, but for Linux only.
$(O)/linux-init: tests/linux/init.c $(O)/flags
	@mkdir -p $(@D)
	$(say) MUSL $<
	$(USER_CC) $(USER_CFLAGS) -o $@ $<

# Both kernels side by side. SCENARIOS=file: these instead of ours; LINUX=file: another kernel (an image or
# a package); ONLY=regex: the scenarios whose names fit.
linux: $(O)/setup-linux $(KERNEL) $(INITRD) $(O)/linux-init
	@$(PYTHON) tools/linux.py --build $(O) --init $(O)/linux-init $(if $(SCENARIOS),--scenarios '$(SCENARIOS)') \
		$(if $(LINUX),--linux '$(LINUX)') $(if $(ONLY),--only '$(ONLY)')

check: $(O)/setup-check
	@tools/check.sh

clean:
	rm -rf build
	@if [ -f tests/host/Makefile ]; then $(MAKE) -s -C tests/host clean; fi

help:
	@echo 'make [all]    kernel and initrd (build/release, or build/debug with DEBUG=1)'
	@echo 'make run      a shell in QEMU; BOOT=iso|uefi|pvh MEM=512M SMP=2 NUMA=1 CPU=max CMD="a && b"'
	@echo '              ICOUNT=1 DEBUG=1 ROOT=DIR (its files in /root) MONITOR=1 (the kernel'"'"'s own'
	@echo '              prompt instead of a shell); Ctrl-] x quits'
	@echo 'make test     host tests, then QEMU scenarios'
	@echo 'make linux    beside Debian'"'"'s Linux: what both do, and what it costs; SCENARIOS=file of your own'
	@echo 'make cve      mistakes of other kernels: each scenario without the mistake, and with it'
	@echo 'make external test programs of Linux, here and on Linux: both verdicts'
	@echo 'make soak     the long runs: faults by the million, sequences of calls, random calls (DIVIDE=10)'
	@echo 'make iso      hybrid ISO (BIOS and UEFI) for a real machine or another emulator'
	@echo 'make check    formatting, pages, floors, analysers, gcc and clang without warnings'
	@echo 'make bench    guest instructions per operation, beside Linux'
	@echo 'make gdb      attach to the newest `make run`'
	@echo 'make clean    remove build/'
	@echo 'variables     CROSS_COMPILE=x86_64-elf-  LLVM=1 (clang)  WERROR=1'
