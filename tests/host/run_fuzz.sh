#!/bin/sh
# run_fuzz.sh NAME PROGRAM WORK RUNS EDGES
#
# Runs one fuzzer for a fixed number of executions from a fixed seed, in the folder WORK, and fails
# if it found something or if it reached fewer edges than it should: a fuzzer that is turned away
# at the first test of the parser proves nothing.

name=$1 program=$2 work=$3 runs=$4 edges=$5
seeds=$work/seeds
log=$work/log

rm -rf "$work"
mkdir -p "$seeds" "$work/found"
python3 ./make_corpus.py "$name" "$seeds" || exit 1
[ -d "corpus/$name" ] && cp "corpus/$name"/* "$seeds/"

"$program" -runs="$runs" -seed=1 -max_len=4096 -timeout=10 -print_final_stats=1 \
	-artifact_prefix="$work/" "$work/found" "$seeds" >"$log" 2>&1
status=$?

executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
reached=$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
if [ $status -ne 0 ]; then
	tail -n 40 "$log"
	echo "fuzz_$name: failed after ${executions:-?} executions; the input is in $work"
	exit 1
fi
echo "fuzz_$name: $executions executions, $reached edges (at least $edges expected)"
[ "$reached" -ge "$edges" ] && [ "$executions" -ge "$runs" ]
