# run.sh NAME SECONDS [ARGUMENT]... - one program of /root, the same on Linux and on Pagoda.
#
# The lines "external: ..." are read by tools/external.py: what stands between them is the program's.

# Pagoda has two rules for a write to a shared huge page. These programs were written for Linux's: split it.
cow=/sys/kernel/mm/transparent_hugepage/cow
[ ! -e $cow ] || echo split > $cow

name=$1
seconds=$2
shift 2
echo "external: begin"
timeout "$seconds" "/root/$name" "$@" 2>&1
echo "external: status $?"
