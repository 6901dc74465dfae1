#!/bin/sh
# run.sh - search the models of this folder completely; each must hold, and each must fail when broken.
#
# A model whose -DBROKEN variant is not found out would prove nothing about the other one.

dir=$(cd "$(dirname "$0")" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# search MODEL EXPECTED-ERRORS "SPIN FLAGS" "CC FLAGS" "PAN FLAGS"
search() {
	rm -f pan*
	# shellcheck disable=SC2086
	spin $3 -a "$dir/$1.pml" > log 2>&1 && ${CC:-cc} -O2 $4 -o pan pan.c >> log 2>&1 &&
		./pan $5 >> log 2>&1
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' log)
	if [ "$errors" = "$2" ]; then
		echo "ok $1 $3 $5"
	else
		echo "not ok $1 $3 $5: errors \"$errors\", expected $2"
		failed=1
	fi
}

search waitq 0 "" -DSAFETY -noclaim
search waitq 0 "" "" "-a -f"
search waitq 1 -DBROKEN "" "-a -f"
search wake 0 "" -DSAFETY "-m100000"
for broken in HALT CLEAR KICK STOP PENDING IDLE FENCE; do
	search wake 1 -DBROKEN_$broken -DSAFETY "-m100000"
done
search rwsem 0 "" -DSAFETY ""
search rwsem 1 -DBROKEN -DSAFETY ""
search pager 0 "" -DNFAIR=3 "-a -f -m100000"
search pager 1 -DBROKEN_TWICE -DNFAIR=3 "-a -f -m100000"
search pager 1 -DBROKEN_DEATH -DNFAIR=3 "-a -f -m100000"
search pager 1 -DBROKEN_TOKEN -DNFAIR=3 "-a -f -m100000"
search ipc 0 "" -DNFAIR=3 "-a -f -m1000000"
search ipc 1 -DBROKEN_LEAVE -DNFAIR=3 "-a -f -m1000000"
search ipc 1 -DBROKEN_LATE -DNFAIR=3 "-a -f -m1000000"
search ipc 1 -DBROKEN_TOKEN -DNFAIR=3 "-a -f -m1000000"
search ipc 0 -DHOLD -DNFAIR=3 "-a -f -m1000000"
search ipc 1 "-DHOLD -DBROKEN_WAKE" -DNFAIR=3 "-a -f -m1000000"
search futex 0 "" "-DSAFETY -DNOCLAIM" ""
search futex 0 "" -DNFAIR=3 "-a -f"
search futex 1 -DBROKEN_ORDER -DNFAIR=3 "-a -f"
search futex 1 -DBROKEN_REPORT "-DSAFETY -DNOCLAIM" ""
search futex 1 -DBROKEN_LEAVE "-DSAFETY -DNOCLAIM" ""
search migrate 0 "-DFORK -DMOVE -DUNMAP -DPIN" -DSAFETY "-m1000000"
search migrate 0 "-DFORK -DUNMAP -DPIN -DSPLIT" -DSAFETY "-m1000000"
search migrate 1 -DBROKEN_FLUSH -DSAFETY ""
search migrate 1 -DBROKEN_FREE -DSAFETY ""
search migrate 1 "-DBROKEN_COUNT -DPIN" -DSAFETY ""
search migrate 1 "-DBROKEN_ONCE -DMOVE" -DSAFETY ""
search migrate 1 "-DBROKEN_ONCE -DBROKEN_ORDER -DFORK" -DSAFETY ""
search migrate 0 "-DBROKEN_ONCE -DFORK" -DSAFETY ""
search migrate 1 "-DBROKEN_SPLIT -DSPLIT" -DSAFETY ""
search migrate 1 -DBROKEN_LOCKED -DSAFETY ""
search collapse 0 "" -DSAFETY -m1000000
search collapse 1 -DBROKEN_FLUSH -DSAFETY -m1000000
search collapse 1 -DBROKEN_READ -DSAFETY -m1000000
search collapse 1 -DBROKEN_LOOK -DSAFETY -m1000000
search collapse 1 -DBROKEN_ANON -DSAFETY -m1000000
search shootdown 0 "" -DSAFETY -m1000000
search shootdown 1 -DBROKEN_POLL -DSAFETY -m1000000
search shootdown 1 -DBROKEN_ENTER -DSAFETY -m1000000
search shootdown 1 -DBROKEN_ACK -DSAFETY -m1000000
search shootdown 1 -DBROKEN_LEAVE -DSAFETY -m1000000
search zero 0 "" -DSAFETY -m1000000
search zero 1 -DBROKEN_PUT -DSAFETY -m1000000
search zero 1 -DBROKEN_SHRINK -DSAFETY -m1000000
search zero 1 -DBROKEN_INSTALL -DSAFETY -m1000000
search zero 1 -DBROKEN_TWICE -DSAFETY -m1000000
exit $failed
