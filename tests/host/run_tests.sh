#!/bin/sh
# Runs the test programs named on the command line and adds up their last lines.
# A program that ends without its last line counts as one failure.

passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for program in "$@"; do
	"$program" >"$log" 2>&1
	last=$(tail -n 1 "$log" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
	[ -n "$last" ] || last="0 1"
	passed=$((passed + ${last% *}))
	if [ "${last#* }" -gt 0 ]; then
		failed=$((failed + ${last#* }))
		cat "$log"
	else
		printf '%-24s %s\n' "$(basename "$program")" "${last% *} passed"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
