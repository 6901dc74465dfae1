# script.sh DIR - a hundred lines for a shell: what busybox ash prints here and on Linux is compared byte by byte.
#
# Nothing in here depends on the time, on pids or on who asks. It works in DIR, which it makes.

mkdir -p "$1" && cd "$1" || exit 9
set -u
LC_ALL=C
export LC_ALL
umask 022

echo "== expansion"
name=pagoda; unset nothing
echo "${name}s ${nothing:-default} ${name:+set} ${#name} ${name%da} ${name#pa} ${name##*a} ${name%%a*}"
path=/usr/lib/x86/file.tar.gz; echo "${path##*/} ${path%/*} ${path%.*} ${path%%.*}"
echo ${name/pa/PA} ${name//a/A} ${name:2:3}
set -- one "two words" three; echo $# "$2" "$*"; for word in "$@"; do echo "<$word>"; done
shift 2; echo $# $1
echo "$(echo a; echo b)" `echo old style` $(echo $(echo nested))
echo 'single $name' "double $name" mixed'"'$name"'"
IFS=:; set -- a:b:c; for x in $1; do printf '[%s]' $x; done; echo; IFS=' 	
'
echo "== arithmetic"
echo $((6 * 7)) $((17 / 5)) $((17 % 5)) $((-17 / 5)) $((1 << 20)) $((0xff & 0x0f)) $((7 > 3 && 2 < 1)) $((3 == 3 ? 10 : 20))
i=0; while [ $i -lt 5 ]; do i=$((i + 1)); [ $i -eq 3 ] && continue; printf '%d ' $i; done; echo
n=10; : $((n += 5)) $((n *= 2)); echo $n; until [ $n -le 25 ]; do n=$((n - 2)); done; echo $n
expr 3 + 4; expr length abcdef; expr substr abcdef 2 3; expr abc : 'a\(.*\)'; expr 5 \> 3
f() { local v=$1; [ $v -le 1 ] && echo 1 && return; echo $((v * $(f $((v - 1))))); }
f 10
fib() { if [ "$1" -lt 2 ]; then echo "$1"; else echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); fi; }
fib 9

echo "== control"
for word in apple 42 'x y' '' -n; do case $word in [0-9]*) echo number;; a*|b*) echo "fruit $word";; '') echo empty;; *\ *) echo spaced;; *) echo other;; esac; done
if false; then echo no; elif true; then echo elif; else echo no; fi
true && echo and || echo or; false && echo and || echo or; ! false && echo not
for a in 1 2 3; do for b in x y z; do [ $b = y ] && continue; [ $a = 3 ] && break 2; printf '%s%s ' $a $b; done; done; echo
(exit 7); echo "status $?"; false | true; echo "pipe $?"; sh -c 'exit 3'; echo "sh $?"
give() { return 42; }; give; echo "return $?"; nosuchcommand 2> /dev/null; echo "missing $?"
eval 'v=evaluated; echo $v'; . /dev/null; command echo command; type cd > /dev/null && echo builtin

echo "== pipes and redirection"
printf '%s\n' pear apple fig apple banana > fruit; sort fruit | uniq -c | sort -rn | sed 's/^ *//' | head -n 3
cat fruit | tr a-z A-Z | tr -d 'P' | tr -s 'A' | wc -c
echo one > out; echo two >> out; cat < out; cat out nosuchfile 2> err | wc -l; sed 's/^.*: //' err
{ echo to-out; echo to-err >&2; } 2>&1 | sort; { echo a; echo b >&2; } 2> /dev/null
exec 3> three; echo via-three >&3; exec 3>&-; cat three; exec 4< fruit; read first <&4; read second <&4; exec 4<&-; echo $first $second
while read -r line; do echo "($line)"; done < fruit | tail -n 2
echo 'x:y:z' | (IFS=: read a b c; echo $c $b $a); printf 'a b\\c\n' | while read -r l; do echo "$l"; done
seq 1 1000 | head -n 3 | tail -n 1; yes | head -n 2; seq 5 | tac; seq 3 | rev
echo teed | tee copy1 copy2 | cat; cmp copy1 copy2 && echo same; set -C; { echo no > copy1; } 2> /dev/null || echo noclobber; set +C
cat <<EOF
here $name $((1 + 1)) $(echo document)
EOF
cat <<'EOF' | sed 's/\$/dollar /'
literal $name
EOF
cat <<-EOF
	tabs go
	EOF

echo "== words"
printf '%5d|%-5s|%05.1f|%x|%o|%c|%%|%b\n' 42 ab 3.14159 255 8 hello 'tab\there'
printf '%s-%s\n' a b c; echo -n no-newline; echo; echo -e 'a\tb\x41\101'
echo 'one two three' | cut -d' ' -f2,3; echo abcdef | cut -c2-4; printf 'k1=v1\nk2=v2\n' | cut -d= -f2 | paste -s -d,
echo 'The quick brown fox' | sed -e 's/quick/slow/' -e 's/\(brown\) \(fox\)/\2 \1/' -e 'y/abc/xyz/'
seq 10 | sed -n '3,5p;8{s/8/eight/;p}'; seq 6 | sed '2d;4,5s/^/>/;$a end'; seq 4 | sed -n '$!{h;d};H;x;p'
printf 'alice 30 x\nbob 25 y\ncarol 35 x\n' > people; awk '{ sum += $2; by[$3]++ } END { print sum / NR, by["x"], by["y"] }' people
awk -F' ' '$2 > 26 { printf "%s:%s\n", toupper($1), substr($1, 2, 3) }' people; awk 'BEGIN { for (i = 1; i < 5; i++) s = s i * i " "; print s; print length(s), index(s, "9"), int(7.9) }'
awk 'function f(n) { return n < 2 ? 1 : n * f(n - 1) } BEGIN { print f(10); split("a-b-c", p, "-"); print p[3] p[1]; x = "aaa"; print gsub(/a/, "b", x), x }'
grep -c x people; grep -v x people; grep -n 'a.*o' people; grep -E '^(bob|carol)' people | wc -l; grep -q zzz people || echo none; echo aBc | grep -io b
sort -k2 -n people | head -n 1; sort -r people | tail -n 1; printf 'b\na\nb\n' | sort -u | tr '\n' ' '; printf '3\n10\n2\n' | sort -n | tr '\n' ' '; echo
printf 'a\na\nb\n' | uniq; printf 'a\na\nb\n' | uniq -d; printf 'a\na\nb\n' | uniq -u; printf '1\n2\n3\n4\n' | paste - -
echo hello | md5sum; echo hello | sha1sum; echo hello | sha256sum | cut -c1-16; echo hello | od -c; echo hello | od -An -tx1; echo hello | hexdump -C
echo 'wrap this text here' | fold -w 7; printf 'a\tb\n' | expand -t 4; echo 'x' | base64; echo 'eAo=' | base64 -d; basename /a/b.c .c; dirname /a/b.c
printf 'l\n' | xargs -I{} echo 'item {}'; seq 7 | xargs -n 3 echo; echo 'a b' | xargs -n 1; seq 3 | xargs sh -c 'echo $0 $#'
strings fruit | head -n 1; grep -f copy1 copy2; diff fruit fruit && echo no-diff; diff copy1 out > /dev/null || echo differ; nl people | head -n 1; wc people

echo "== files"
mkdir -p d/e/f; touch d/one d/two.txt d/e/three.txt d/.hidden; echo d/*; echo d/*.txt d/t?o.txt d/[op]* d/nosuch*; ls d; ls -A d | wc -l
find d -type f | sort; find d -name '*.txt' | sort; find d -type d | wc -l; find d -type f -name t\* -exec echo found {} \; | sort
ln -s one d/link; readlink d/link; [ -L d/link ] && echo link; echo data > d/one; cat d/link; ln d/one d/hard; rm d/one; cat d/hard
[ -f d/hard ] && [ ! -e d/one ] && [ -d d ] && [ ! -s d/two.txt ] && echo tests; test 5 -gt 3 -a abc != abd && echo and; [ -z "" -o -n "" ] && echo or
cp d/hard d/copy; mv d/copy d/e/moved; cat d/e/moved; chmod 600 d/hard; stat -c '%a %s %F' d/hard; cp -r d d2; find d2 | wc -l; rmdir d2/e/f && echo removed
cd d/e && pwd | sed "s,.*/,," && cd ../.. ; (cd /; pwd); [ -w . ] && [ -x d ] && echo allowed; mktemp -u abcXXXXXX | wc -c
echo abcdefghij > ten; dd if=ten bs=1 skip=2 count=3 2> /dev/null; echo; dd if=/dev/zero bs=1k count=4 2> /dev/null | wc -c; truncate -s 5 ten; cat ten; echo; tail -c 2 ten; echo; head -c 2 ten; echo
printf 'XY' | dd of=ten bs=1 seek=1 conv=notrunc 2> /dev/null; cat ten; echo; ls -l ten | cut -c1-10; du -a nosuch 2> /dev/null || echo no; rm -rf d2; [ -e d2 ] || echo gone

echo "== archives"
tar cf a.tar d people && tar tf a.tar | sort; mkdir x; tar xf a.tar -C x && find x -type f | sort | xargs md5sum; readlink x/d/link
gzip -c people > p.gz; gunzip -c p.gz | cmp - people && echo gzip; tar czf a.tgz d; tar tzf a.tgz | wc -l; zcat p.gz | head -n 1; bzip2 -c people | bunzip2 | cmp - people && echo bzip2

echo "== sixteen megabytes"
yes 'pagoda: all floors stand on the ones below' | head -c 16777216 > big; wc -c < big; md5sum big; md5sum < big | cut -c1-8
tr a-m n-z < big | md5sum; gzip -1 -c big | gunzip -c | md5sum; sed -n '100000p' big; wc -l < big; tail -c 100 big | head -c 20; echo
cat big big | head -c 20000000 | wc -c; dd if=big bs=4096 skip=1000 count=3 2> /dev/null | md5sum; cp big big2; cmp big big2 && echo whole; rm big big2

echo "== processes"
(sleep 0; exit 5) & wait $!; echo "waited $?"; for k in 1 2 3; do (exit $k) & done; wait; echo "all $?"
x=outer; (x=inner; echo $x); echo $x; { x=group; }; echo $x; echo $(x=sub; echo $x) $x
trap 'echo trapped USR1' USR1; kill -USR1 $$; trap - USR1; (trap 'echo bye' EXIT; echo in); (trap '' TERM; sh -c 'kill -TERM $$'; echo survived)
sh -c 'kill -KILL $$'; echo "killed $?"; (sleep 100 & echo $! > pid; wait $!) & sleep 1; kill $(cat pid); wait; echo reaped
sh -c 'kill -SEGV $$' 2> /dev/null; echo "segv $?"; timeout 1 sleep 10; echo "timeout $?"; (ulimit -n > /dev/null) && echo ulimit; seq 100000 | head -n 1
env -i A=1 B=2 sh -c 'echo $A$B'; FOO=bar sh -c 'echo $FOO'; export V=exported; sh -c 'echo $V'; env | grep -c '^V='; readonly R=1; (R=2) 2> /dev/null || echo readonly
set -- -a -b value rest; while getopts ab: opt; do echo "$opt ${OPTARG:-}"; done; shift $((OPTIND - 1)); echo "$@"
echo a | { read v; echo "got $v"; }; which sh > /dev/null && echo which
time_is=$(date +%s); [ "$time_is" -ge 0 ] && date -u -d @86400 +%Y-%m-%d; [ "$(id -u)" = 0 ] && id -un; uname -s | tr a-z A-Z | wc -c
alias hi='echo alias'; eval hi; unalias hi; (set -e; false; echo not-here); echo "errexit $?"; (set -f; echo *); set -- $(seq 9); echo ${9} $#
test -t 0 || echo no-terminal; [ -c /dev/null ] && echo device; echo gone > /dev/null; cat /dev/null | wc -c; head -c 8 /dev/zero | od -An -tx1; head -c 16 /dev/urandom | wc -c

echo "== all together"
for file in d/*; do [ -d "$file" ] && kind=folder || kind=file; printf '%s %s\n' "$kind" "${file#d/}"; done | sort -k2 | awk '{ print NR ": " $0 }'
seq 100 | awk '$1 % 15 == 0 { print "fizzbuzz"; next } $1 % 5 == 0 { print "buzz"; next } $1 % 3 == 0 { print "fizz"; next } { print }' | sort | uniq -c | sort -rn | head -n 3 | tr -s ' '
prime() { p=2; while [ $((p * p)) -le "$1" ]; do [ $(($1 % p)) -eq 0 ] && return 1; p=$((p + 1)); done; }
for n in $(seq 2 60); do prime $n && printf '%s ' $n; done; echo
reverse() { [ -z "$1" ] || { reverse "${1#?}"; printf '%s' "${1%"${1#?}"}"; }; }; reverse 'pagoda floors'; echo
count=0; for f in $(find d -type f | sort); do count=$((count + $(wc -c < "$f"))); done; echo "$count bytes"
seq 20 | while read -r n; do echo $((n * n)); done | (sum=0; while read -r n; do sum=$((sum + n)); done; echo "sum $sum")
cat <<EOF | sh -s arg1 arg2
echo "inner \$1 \$2 \$#"
cat <<INNER
nested here-document
INNER
EOF
yes x | head -n 1000 | tr 'x\n' 'y ' | wc -c; seq 2000 | sort -r | sort -n | md5sum; seq 300 | xargs | wc -w; seq 50 | awk '{ s = s $1 } END { print length(s) }'
a=1; while :; do a=$((a * 2)); case $a in 1024) break;; esac; done; echo "$a"; b=$(seq 5 | while read -r x; do [ "$x" = 3 ] && break; echo "$x"; done); echo $b
(for n in 1 2 3 4 5 6 7 8; do (echo "job $n") & done; wait) | sort; echo "$(yes | head -c 100000 | wc -c)"
sh -c 'cd / && pwd && cd - > /dev/null; exec echo replaced; echo never'; echo "${0##*/} ${#@}"
echo "== end"
