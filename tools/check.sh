#!/bin/sh
# check.sh - `make check`: formatting, floors, analysers, both compilers without a warning.
# Prints one line for each check, what a failing one said, and ends with the number that failed.
set -u
cd "$(dirname "$0")/.."
python=$(./setup --python)
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

check() { # NAME COMMAND...
	name=$1
	shift
	if "$@" > "$log" 2>&1; then
		printf '%-32s ok\n' "$name"
	else
		printf '%-32s FAILED\n' "$name"
		cat "$log"
		failed=$((failed + 1))
	fi
}

c_files() { git ls-files --cached --others --exclude-standard -- "$@" | sort -u; }
sources=$(c_files 'kernel/*.c' 'boot/*.c' 'tests/kernel/*.c')
all_c=$(c_files '*.c' '*.h')

formatted() { clang-format --dry-run -Werror $all_c; }

# No #ifdef in a .c file: choices made at build time are constants (docs/style.md).
no_ifdef() { ! grep -nE '^[[:space:]]*#[[:space:]]*(if|ifdef|ifndef|elif)\b' $sources; }

analysed() {
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --platform=unix64 \
		--enable=warning,portability -Ikernel -Iinclude -I. -DCONFIG_DEBUG=0 \
		--suppress=missingIncludeSystem --suppress=unknownMacro $sources
}

# sparse knows __user: a user pointer that is used without uaccess is an error.
user_pointers() {
	status=0
	for file in $sources; do
		sparse -Wsparse-error -Wno-decl -Wno-non-pointer-null -Wno-declaration-after-statement \
			-Wno-transparent-union -m64 -std=gnu11 -ffreestanding \
			-Ikernel -Iinclude -I. -DCONFIG_DEBUG=0 "$file" || status=1
	done
	return $status
}

compiled() { make --no-print-directory "$@" WERROR=1 all; }

check 'format' formatted
check 'no #ifdef in .c files' no_ifdef
[ -f tools/check_floors.py ] && check 'floors' "$python" tools/check_floors.py
check 'cppcheck' analysed
check 'sparse' user_pointers
check 'clang -Werror' compiled LLVM=1
check 'clang -Werror, DEBUG=1' compiled LLVM=1 DEBUG=1
check 'gcc -Werror, DEBUG=1' compiled DEBUG=1
check 'gcc -Werror' compiled

if [ $failed = 0 ]; then
	echo 'all checks are clean'
else
	echo "$failed checks failed"
	exit 1
fi
