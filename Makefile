# fovea: attention in C.  `make demo` shows it, `make test` proves it, `make help` lists the rest.
#
# A new file under src/, cli/, tests/ or examples/ needs no edit here. Switches:
#   THREADS=omp|pthread   runtime behind parallel_for          SAN=address|thread   sanitizers, own build folder
#   SECONDS=10            of `make fuzz`, for each target      TARGETS="json table" those of them that run
#   CC=gcc|clang          compiler                             WERROR=1             warnings are errors
#   PREFIX= DESTDIR=      where `make install` puts things     V=1                  print every command
#   QUICK=1               fewer random cases in the tests      T=attn/prefix        the test program of `make check`

CC      ?= cc
PREFIX  ?= /usr/local
THREADS ?= omp
SAN     ?=
JOBS    := $(shell nproc 2>/dev/null || echo 1)
V       ?= 0
Q       := $(if $(filter 0,$(V)),@)
ABI     := 0
VERSION := $(shell sed -n 's/^.define FV_VERSION "\(.*\)"/\1/p' include/fovea/base.h)
ARCH    := $(shell uname -m)
B       ?= build$(addprefix -,$(SAN))$(if $(filter omp,$(THREADS)),,-$(THREADS))$(if $(filter clang,$(CC)),-clang)

# ---- what is on this machine. The library proper (base tensor simd dense attn grad nn optim) needs libc, OpenMP and oneDNN;
# the rest needs the packages below as well. `make deps` installs everything.
have_header = $(shell printf '\043include <$(1)>\nint x;' | $(CC) -E -xc - >/dev/null 2>&1 && echo yes)
PKGS        := jansson libutf8proc libpng zlib yaml-0.1 lapacke pangocairo
MISSING     := $(strip $(foreach p,$(PKGS),$(shell pkg-config --exists $(p) 2>/dev/null || echo $(p))) \
               $(if $(call have_header,dnnl.h),,onednn))
CORE_PARTS  := base tensor simd dense attn grad nn optim
FULL_PARTS  := io data model task train explain
PARTS       := $(CORE_PARTS) $(if $(MISSING),,$(FULL_PARTS))
PKG_CFLAGS  := $(if $(MISSING),,$(shell pkg-config --cflags $(PKGS)))
PKG_LIBS    := $(if $(MISSING),,$(shell pkg-config --libs $(PKGS)))

# ---- flags
# rows of options leave out their last fields, which then are zero
WARN    := -Wall -Wextra -Wno-missing-field-initializers -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith $(if $(WERROR),-Werror)
MATH    := -fno-math-errno -fno-trapping-math -ffp-contract=fast
HARDEN  := -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2)
OPT     := $(if $(SAN),-O1 -fno-omit-frame-pointer,-O3)
,       := ,
SANFLAG := $(if $(filter address,$(SAN)),-fsanitize=address$(,)undefined -fno-sanitize-recover=all)$(if $(filter thread,$(SAN)),-fsanitize=thread)
SANFLAG += $(if $(filter fuzzer,$(SAN)),-fsanitize=fuzzer-no-link$(,)address$(,)undefined -fno-sanitize=pointer-overflow -fno-sanitize-recover=all)
OMPFLAG := $(if $(filter omp,$(THREADS)),-fopenmp,-pthread)
CFLAGS  ?=
ALL_CFLAGS = -std=c17 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -g $(OPT) $(MATH) $(WARN) $(HARDEN) $(SANFLAG) $(OMPFLAG) \
             -fPIC -fvisibility=hidden -Iinclude -Isrc $(PKG_CFLAGS) $(CFLAGS)
LIBS    := -ldnnl $(PKG_LIBS) -lm $(OMPFLAG) $(SANFLAG)

# ---- sources: a folder is a layer, src/PART/**.c; one runtime of parallel_for; the ISA tables of this architecture
ISAS    := scalar $(if $(filter x86_64,$(ARCH)),avx2 avx512)$(if $(filter aarch64,$(ARCH)),neon)
# the scalar vocabulary says itself where a product is fused; the compiler's choice differs from one copy of a kernel to the next
ISA_scalar := -ffp-contract=off
ISA_avx2   := -mavx2 -mfma -mf16c
ISA_avx512 := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mf16c -mprefer-vector-width=512
SRC     := $(foreach p,$(PARTS),$(wildcard src/$(p)/*.c src/$(p)/*/*.c src/$(p)/*/*/*.c))
SRC     := $(filter-out src/base/parallel_%.c src/simd/isa_%.c $(if $(MISSING),src/grad/params_file.c),$(SRC)) src/base/parallel_$(THREADS).c $(ISAS:%=src/simd/isa_%.c)
OBJ     := $(SRC:%.c=$(B)/%.o)
CLI_SRC := $(if $(MISSING),,$(wildcard cli/*.c))
CLI_OBJ := $(CLI_SRC:%.c=$(B)/%.o)
ASSETS  := $(wildcard src/explain/page/*.js src/explain/page/*.css src/explain/page/*.html)
LIB_A   := $(B)/libfovea.a
LIB_SO  := $(B)/libfovea.so
PROGRAM := $(if $(MISSING),,$(B)/fovea)
# tests/LAYER/test_NAME.c is a program, called LAYER/NAME
TEST_SRC   := $(wildcard tests/*/test_*.c)
TEST_NAMES := $(patsubst tests/%.c,%,$(subst /test_,/,$(TEST_SRC)))
TESTS   := $(patsubst tests/%.c,$(B)/tests/%,$(if $(MISSING),,$(TEST_SRC)))
FUZZ    := $(patsubst tests/%.c,$(B)/tests/%,$(if $(MISSING),,$(wildcard tests/fuzz/fuzz_*.c)))
BENCHES := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/*.c))
EXAMPLES := $(patsubst examples/%.c,$(B)/examples/%,$(if $(MISSING),,$(wildcard examples/*.c)))

.PHONY: all demo test check test-long conformance parity bench bench-app16 install uninstall deps asan tsan format lint docs clean help libs programs
.DEFAULT_GOAL := all

all: libs programs          ## build the libraries and the command
libs: $(LIB_A) $(LIB_SO)
programs: $(PROGRAM) $(EXAMPLES)
ifneq ($(and $(MISSING),$(filter-out demo test check test-long conformance parity deps clean help lint format,$(or $(MAKECMDGOALS),all))),)
$(info fovea: building the library proper only; not found: $(MISSING). `make deps` installs what is missing)
endif

# The demonstration and the tests install what is missing first, then call make again with a complete machine.
demo:                       ## fetch real text, train, judge, explain
	$(Q)tools/deps
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all
	$(Q)tools/demo $(B)/fovea

ifneq ($(QUICK),)
export FOVEA_TEST_QUICK := 1
endif
test:                       ## every test, some minutes; QUICK=1: fewer random cases
	$(Q)tools/deps test
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all test-programs
	$(Q)tools/test $(B)

check:                      ## one test program: T=attn/prefix, ARGS="MECHANISM SEED" where it takes them, QUICK=1
ifeq ($(and $(filter 1,$(words $(T))),$(filter $(TEST_NAMES),$(T))),)
	$(Q)printf 'make check: no such test program\n  expected T= one of: %s\n  found:   T=%s\n' \
	    "$$(echo $(TEST_NAMES) | tr ' ' '\n' | sort | tr '\n' ' ' | fold -s -w 100 | sed '2,$$s/^/                      /')" '$(T)' >&2; exit 2
else
	$(Q)tools/deps test
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all $(B)/tests/$(subst /,/test_,$(T))
	$(Q)$(B)/tests/$(subst /,/test_,$(T)) $(ARGS)
endif

test-long:                  ## the same with larger counts, hours
	$(Q)tools/deps test
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all test-programs
	$(Q)FOVEA_TEST_LONG=1 tools/test $(B)

conformance:                ## ONNX node tests through the public headers (fetches the package onnx)
	$(Q)tools/deps test
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all $(B)/tests/conformance/onnx $(B)/tests/cli/test_cli
	$(Q)tests/conformance/run $(B)
parity: all                 ## outputs and gradients on random configurations beside torch (PYTHON= one that has it)
	$(Q)tests/parity/run $(B)/fovea

.PHONY: test-programs
test-programs: $(TESTS) $(if $(MISSING),,$(B)/tests/bits/record)

bench: all $(BENCHES)       ## speed of attention on this machine; checks before it times
	$(Q)$(B)/fovea bench attention

bench-app16: all            ## accuracies of the demonstration, three seeds with spread
	$(Q)tools/bench-app16 $(B)/fovea

asan:                       ## build and test with AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory SAN=address all test-programs && tools/test build-address
tsan:                       ## kernels and training with ThreadSanitizer on the pthread pool
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory SAN=thread THREADS=pthread all test-programs && tools/test build-thread-pthread threads

# libFuzzer is clang's; the pool of POSIX threads is the runtime the sanitizers see into
SECONDS ?= 10
TARGETS ?=
FUZZED  := build-fuzzer-pthread-clang
fuzz:                       ## every parser on inputs that are made from seeds: SECONDS=10 for each, TARGETS="json table"
	$(Q)tools/deps test
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory programs
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory CC="$(if $(findstring ccache,$(CC)),ccache clang,clang)" SAN=fuzzer THREADS=pthread B=$(FUZZED) fuzz-programs
	$(Q)tests/fuzz/run $(FUZZED) $(B)/fovea $(SECONDS) $(TARGETS)
fuzz-long:                  ## the same for an hour each
	$(Q)$(MAKE) --no-print-directory fuzz SECONDS=3600
.PHONY: fuzz fuzz-long fuzz-programs
fuzz-programs: $(FUZZ)

deps:                       ## install the packages fovea needs (apt)
	$(Q)tools/deps test
format:                     ## rewrite sources in the house style
	$(Q)clang-format -i $$(git ls-files '*.c' '*.h')
lint:                       ## layers, budgets, public headers, format, shell scripts
	$(Q)tools/lint
docs: all                   ## man page and tables that are made from the code
	$(Q)tools/docs $(B)/fovea
help:                       ## this list
	$(Q)sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' Makefile | expand -t 22
clean:                      ## remove what was built
	$(Q)rm -rf build build-*

# ---- rules
say = @$(if $(filter 0,$(V)),echo "  $(1)	$@",:)

$(B)/src/simd/isa_%.o: src/simd/isa_%.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ISA_$*) -MMD -MP -c $< -o $@

$(B)/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

# The page of `fovea explain` is written as html, css and js, and carried in the library as bytes.
$(B)/page.inc: $(ASSETS) tools/embed
	$(call say,EMBED)
	@mkdir -p $(@D)
	$(Q)tools/embed $(ASSETS) > $@.tmp && mv $@.tmp $@
$(B)/src/explain/%.o: ALL_CFLAGS += -I$(B)
$(filter $(B)/src/explain/%,$(OBJ)): | $(B)/page.inc
$(B)/src/explain/page.o: $(B)/page.inc

$(LIB_A): $(OBJ)
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $(OBJ)
$(LIB_SO): $(OBJ) src/base/exports.map
	$(call say,LINK)
	$(Q)$(CC) -shared -Wl,-soname,libfovea.so.$(ABI) -Wl,-z,relro,-z,now -Wl,--version-script=src/base/exports.map $(OBJ) -o $@ $(LIBS)
	@ln -sf libfovea.so $(B)/libfovea.so.$(ABI)
$(PROGRAM): $(CLI_OBJ) $(LIB_A)
	$(call say,LINK)
	$(Q)$(CC) $(CLI_OBJ) $(LIB_A) -o $@ $(LIBS) -lyaml
$(B)/tests/%: tests/%.c $(LIB_A)
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests -MMD -MP $< $(LIB_A) -o $@ $(LIBS) -lcmocka
# the targets that read what the command reads want its objects; libFuzzer brings the main of its own
$(B)/cli/main_of_fuzz.o: cli/main.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Dmain=main_of_fovea -Wno-missing-prototypes -MMD -MP -c $< -o $@
$(B)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(LIB_A) $(CLI_OBJ) $(B)/cli/main_of_fuzz.o
	$(call say,FUZZ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -D_GNU_SOURCE -Itests -fsanitize=fuzzer $< $(filter-out %/main.o,$(CLI_OBJ)) $(B)/cli/main_of_fuzz.o $(LIB_A) \
	    -o $@ $(LIBS) -lyaml
# these see the public headers only
$(B)/tests/bits/record: tests/bits/record.c $(wildcard tests/bits/*.h) $(LIB_A)
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -Isrc,$(ALL_CFLAGS)) $< $(LIB_A) -o $@ $(LIBS)
$(B)/tests/conformance/onnx: $(wildcard tests/conformance/*.[ch]) $(LIB_SO)
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -Isrc,$(ALL_CFLAGS)) $(filter %.c,$^) -L$(B) -lfovea -Wl,-rpath,'$$ORIGIN/../..' -o $@ -lm $(SANFLAG)
$(B)/examples/%: examples/%.c $(LIB_A)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP $< $(LIB_A) -o $@ $(LIBS)
$(B)/bench/%: bench/%.c $(LIB_A)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP $< $(LIB_A) -o $@ $(LIBS)

# ---- installation
D := $(DESTDIR)$(PREFIX)
install: all                ## PREFIX= DESTDIR= : libraries, headers, fovea.pc, CMake config, command, man page, completion
	$(Q)CC="$(CC)" ABI=$(ABI) VERSION=$(VERSION) LIBS="$(LIBS)" tools/install "$(B)" "$(D)" "$(PREFIX)"
uninstall:                  ## remove what `make install` put there
	$(Q)tools/install --remove "$(D)"

-include $(OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(TESTS:=.d) $(EXAMPLES:=.d)
