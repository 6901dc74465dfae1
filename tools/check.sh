#!/bin/sh
# check.sh - what a machine can say about the sources without running them (`make check`).
#
#   format     clang-format has nothing to change
#   ifdef      no #if in a .c file: choices made at build time are constants in kernel/config.h
#   cppcheck   no warning that tools/cppcheck.suppress does not name
#   sparse     no warning: above all, no pointer of ring 3 is used as one of the kernel's
#   gcc clang  both build everything with -Werror, release and debug
#   spin       the models of tests/spin hold, and those broken on purpose do not
#   floors     no file uses what stands above it (docs/floors.md)
#   docs       every file, name and command that README.md and docs/ mention exists
#
# All of them run; the last line is `check: clean`, or the list of those that failed.
# `tools/check.sh format floors` runs only the ones named.

cd "$(dirname "$0")/.." || exit 1
python=$(./setup --python)
c_files=$(find kernel boot include servers user tests -name '*.[ch]' 2>/dev/null | sort)
sources=$(find kernel boot tests/kernel -name '*.c' 2>/dev/null | sort)
includes='-Ikernel -Iinclude -I.'
failed=
output=$(mktemp)
trap 'rm -f "$output"' EXIT

check_format() {
	status=0
	for file in $c_files; do
		clang-format "$file" | cmp -s - "$file" && continue
		echo "$file: run clang-format -i on it"
		status=1
	done
	return $status
}

check_ifdef() {
	# shellcheck disable=SC2086
	! grep -nE '^[[:space:]]*#[[:space:]]*(if|ifdef|ifndef|elif)\b' $sources
}

# -UPTE_TABLE: its preprocessor expands an argument of ## that has the name of a macro.
check_cppcheck() {
	# shellcheck disable=SC2086
	cppcheck --quiet --std=c11 --platform=unix64 --enable=warning,portability,performance \
		--inline-suppr --suppressions-list=tools/cppcheck.suppress --error-exitcode=1 \
		-DCONFIG_DEBUG=1 -UPTE_TABLE $includes $sources
}

# sparse ends with status 0 whatever it says: what counts is whether it said something.
check_sparse() {
	for file in $sources; do
		# shellcheck disable=SC2086
		sparse -m64 -std=gnu11 -ffreestanding -Wno-declaration-after-statement -Wno-decl \
			-Wno-non-pointer-null -Wno-cast-truncate -D__VERSION__='"sparse"' \
			-DCONFIG_DEBUG=1 $includes "$file"
	done 2>&1 | awk '{ print } END { exit NR > 0 }'
}

check_gcc() {
	make --no-print-directory O=build/check-gcc WERROR=1 LLVM=0 DEBUG=0 all &&
		make --no-print-directory O=build/check-gcc-debug WERROR=1 LLVM=0 DEBUG=1 all
}

check_clang() {
	make --no-print-directory O=build/check-clang WERROR=1 LLVM=1 DEBUG=0 all &&
		make --no-print-directory O=build/check-clang-debug WERROR=1 LLVM=1 DEBUG=1 all
}

check_spin() {
	tests/spin/run.sh
}

# Reads the symbols of the objects that check_gcc has just built.
check_floors() {
	"$python" tools/check_floors.py --objects build/check-gcc
}

check_docs() {
	"$python" tools/check_docs.py
}

for check in ${*:-format ifdef docs cppcheck sparse spin gcc clang floors}; do
	if "check_$check" >"$output" 2>&1; then
		echo "$check: clean"
		sed -n 's/^floors: /        &/p' "$output"
	else
		cat "$output"
		echo "$check: FAILED"
		failed="$failed $check"
	fi
done

if [ -n "$failed" ]; then
	echo "check: failed:$failed"
	exit 1
fi
echo "check: clean"
