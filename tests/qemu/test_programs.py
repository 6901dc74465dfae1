"""The programs of user/programs on Pagoda: each provokes one behaviour and checks itself."""

import re
import subprocess
import time

import pytest

HEALTH = "check && ledger"


def thptouch(pagoda, arguments, **options):
    """Run it -> {name: number} of what it printed."""
    result = pagoda(f"run thptouch {arguments} && {HEALTH}", **options)
    return {name: int(value) for name, value in
            re.findall(r"^(\w+) (\d+)(?: kB)?\s*$", result.output, re.MULTILINE)}


def test_thptouch_writes_huge(pagoda):
    got = thptouch(pagoda, "write 64M")
    assert (got["thp_fault_alloc"], got["minor_faults"]) == (32, 32)
    assert (got["Rss"], got["AnonHugePages"]) == (65536, 65536)


def test_thptouch_reads_zero_page(pagoda):
    got = thptouch(pagoda, "read 64M")
    assert got["thp_zero_page_alloc"] == 1 and "thp_fault_alloc" not in got
    assert (got["minor_faults"], got["Rss"]) == (32, 0)


def test_thptouch_small(pagoda):
    got = thptouch(pagoda, "write 8M --nohuge")
    assert (got["minor_faults"], got["Rss"], got["AnonHugePages"]) == (2048, 8192, 0)


def test_thptouch_usage(pagoda):
    result = pagoda("run thptouch write 8X", verdict="fail")
    assert result.status == 2 and "usage: thptouch" in result.output


@pytest.mark.parametrize("program", ["cowtree", "remapper", "vmalimit", "syscalls", "zeroes",
                                     "crash all", "stale all", "fpu", "fewbytes", "locked"])
@pytest.mark.parametrize("smp", [1, 4])
def test_checks_itself(pagoda, program, smp):
    result = pagoda(f"run {program} && {HEALTH}", smp=smp, limit=60)
    assert re.search(rf"^{program.split()[0]}: .*ok\s*$", result.output, re.MULTILINE)


@pytest.mark.parametrize("cow", ["copy", "split"])
@pytest.mark.parametrize("program", ["cowtree", "remapper", "zeroes", "stale all"])
def test_under_both_rules_of_copying(pagoda, program, cow):
    pagoda(f"echo {cow} > /sys/kernel/mm/transparent_hugepage/cow && run {program} && {HEALTH}",
           limit=60)


@pytest.mark.parametrize("kind, reason", [
    ("read-null", "read of 0x0 at ip .*: no mapping there"),
    ("read-kernel", "read of 0xffffffff80000000 at ip .*: no mapping there"),
    ("write-text", "write of 0x.* at ip .*: the mapping does not allow it"),
    ("exec-data", "execution of 0x.* at ip .*: the mapping does not allow it"),
    ("stack-overflow", "write of 0x7ff.* at ip .*: no mapping there"),
    ("read-non-canonical", "#GP general protection at ip"),
    ("divide-by-zero", "#DE divide error at ip"),
    ("invalid-opcode", "#UD invalid opcode at ip"),
    ("cli", "#GP general protection at ip"),
])
def test_a_crash_is_one_clear_line(pagoda, kind, reason):
    """Who, where, why and the registers; the task ends, the kernel does not."""
    result = pagoda(f"run crash {kind}", verdict="fail")
    lines = re.findall(rf"pid \d+ \(crash\): {reason}.*sp [0-9a-f]+ .*r15 ", result.output)
    assert len(lines) == 1, result.output


@pytest.mark.parametrize("smp, mem", [(1, "256M"), (4, "256M"), (4, "1G")])
@pytest.mark.parametrize("seed", [1, 2])
def test_stress(pagoda, seed, smp, mem):
    pagoda(f"run stress {seed} 400 {2 * smp} && {HEALTH}", smp=smp, mem=mem, limit=120)


# What Linux 6.1 prints for the first sequences of seed 1: each call's result, every page's rights and contents.
SEQUENCES = {500: "01f3f40b6461e63e", 100: "447119b7850cadfb"}


@pytest.mark.parametrize("cow, number", [("copy", 500), ("split", 100)])
def test_sequences_as_on_linux(pagoda, cow, number):
    """Random calls against a plain model, while khugepaged works over the same spaces."""
    thp = "/sys/kernel/mm/transparent_hugepage"
    result = pagoda(f"echo {cow} > {thp}/cow && echo 0 > {thp}/khugepaged/scan_sleep_millisecs && "
                    f"run stress 1 sequences {number} && {HEALTH}", smp=4, limit=180)
    assert f"digest {SEQUENCES[number]}: ok" in result.output


@pytest.mark.parametrize("processes, threads, nodes", [(4, 1, 1), (2, 2, 1), (2, 2, 2)])
def test_soak(pagoda, processes, threads, nodes):
    """A little of what make soak does for minutes; the counters say that it happened."""
    scanner = "/sys/kernel/debug/sched/numa_balancing"  # it works sooner and more often than from boot on
    command = f"echo 50 > {scanner}/scan_delay_ms && echo 50 > {scanner}/scan_period_min_ms && " if nodes > 1 else ""
    output = pagoda(command + f"run soak 400 {processes} {threads} && {HEALTH}", smp=4, numa=nodes, limit=120).output
    assert f"soak: 400 cycles, {processes} processes of {threads} threads: ok" in output
    counts = {name.strip(): int(value) for name, value in re.findall(r"^([a-z_, 0-9]+?) +(\d+)$", output, re.MULTILINE)}
    for name in ("thp_fault_alloc", "thp_split_pmd", "thp_collapse_alloc"):
        assert counts[name] >= 400
    assert counts["pgfault"] >= 400 * 400 and counts["small, of 1000"] >= 980
    assert counts["mremap"] >= 25 and counts["fork"] >= 6 and counts["compact_memory"] >= 1
    assert counts["pgmigrate_success"] > 0 and counts["words compared"] > 0
    if nodes > 1:
        assert counts["numa_hint_faults"] > 0 and counts["numa_pages_migrated"] > 0


def test_stress_with_khugepaged_awake(pagoda):
    """The daemon works over the same spaces all the time."""
    knob = "/sys/kernel/mm/transparent_hugepage/khugepaged"
    pagoda(f"echo 0 > {knob}/scan_sleep_millisecs && run stress 3 400 && {HEALTH}", smp=4, limit=120)


@pytest.mark.parametrize("smp", [1, 4])
def test_out_of_memory_takes_who_has_most(pagoda, smp):
    """Eight that take all they can get: each goes with one line, the small parent stays."""
    result = pagoda(f"run hog memory 8 && run hog tables && {HEALTH}", smp=smp, mem="32M", limit=60)
    killed = re.findall(r"killed pid (\d+) \(hog\)", result.output)
    assert "hog: 8 of 8 children gave up their memory, ok" in result.output
    assert killed and len(killed) == len(set(killed)), killed


@pytest.mark.parametrize("smp", [1, 2])
def test_more_processes_than_memory(guest, smp):
    """Whoever goes, the monitor is there afterwards, and every frame is accounted for."""
    one = guest(smp=smp, mem="32M")
    one.expect(r"pagoda> $", 30)
    one.send("run hog processes\r")
    one.expect(r"^(hog: \d+ processes.*ok|hog: killed \(signal 9\))", 60)
    one.expect(r"pagoda> ", 30)  # a line about who goes next may stand behind it
    one.send("free && check\r")
    one.expect(r"^Mem: .*\n", 30)
    for _ in range(20):  # those that are left hold all memory until their nap is over
        one.send("ledger\r")
        if one.expect(r"ledger exact|ledger: no memory", 60).group() == "ledger exact":
            return
        time.sleep(1)
    pytest.fail("the ledger never had memory to count: " + one.text[-2000:])


def test_text_of_two_megabytes(pagoda, build):
    """Linked so that one huge page can map its text; every page of it is the right one."""
    result = pagoda("run hugetext && check && ledger", initrd=f"{build}/initrd-tests.cpio")
    assert "512 pages at 0x" in result.output and ", 0 wrong" in result.output


SIGNALS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int got[2048], nr, low;

static void handler(int sig, siginfo_t *info, void *context)
{
	if (sig == SIGUSR1)
		low++;
	else
		got[nr++] = sig * 10000 + info->si_value.sival_int;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	int high = SIGRTMIN + 1, sent, bad = 0, status;
	sigset_t all, none;
	siginfo_t info;

	setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){1000, 1000});
	sigemptyset(&none);
	sigfillset(&all);
	sigaction(high, &action, NULL);
	sigaction(high + 1, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (int i = 0; i < 3; i++) {
		bad += sigqueue(getpid(), high + 1, (union sigval){.sival_int = i}) != 0;
		bad += sigqueue(getpid(), high, (union sigval){.sival_int = i}) != 0;
		bad += sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = i}) != 0;
	}
	bad += sigwaitinfo(&all, &info) != SIGUSR1 || info.si_value.sival_int != 0;
	bad += sigwaitinfo(&all, &info) != high || info.si_value.sival_int != 0 || info.si_code != SI_QUEUE;
	raise(SIGUSR1);
	sigprocmask(SIG_SETMASK, &none, NULL);
	printf("%d low, high", low);
	for (int i = 0; i < nr; i++)
		printf(" %d", got[i] - high * 10000);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (sent = 0; !sigqueue(getpid(), high, (union sigval){.sival_int = sent}); sent++)
		;
	bad += errno != EAGAIN || sent < 100 || sent > 1000;
	bad += kill(getpid(), high) != 0; /* it comes to nothing new, and is no error */
	nr = 0;
	sigprocmask(SIG_SETMASK, &none, NULL);
	bad += nr < sent || nr > sent + 1;
	for (int i = 0; i < sent; i++)
		bad += got[i] != high * 10000 + i;
	bad += kill(INT_MIN, 0) != -1 || errno != ESRCH;
	bad += syscall(SYS_wait4, INT_MIN, &status, 0, NULL) != -1 || errno != ESRCH;
	printf(", %d wrong\n", bad);
	return bad;
}
"""


def test_signals_that_are_queued(pagoda, initrd_with, tmp_path):
    """Those below 32 once, the others in the order in which they were sent, each with its value; as Linux prints it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "s.c").write_text(SIGNALS)
    program = tmp_path / "root" / "s"
    subprocess.run(["musl-gcc", "-static", "-O", "-o", program, tmp_path / "s.c"], check=True)
    says = "1 low, high 10000 10001 10002 1 2, 0 wrong"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip() == says
    result = pagoda(f"/root/s && {HEALTH}", initrd=initrd_with(tmp_path / "root"), shell=True)
    assert says in result.output, result


POPULATE = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (8ul << 20)

static int missing(int prot, int flags, int fd)
{
	static unsigned char there[BYTES / 4096];
	char *at = mmap(NULL, BYTES, prot, flags | MAP_POPULATE, fd, 0);
	int nr = 0;

	if (at == MAP_FAILED || mincore(at, BYTES, there))
		return -1;
	for (unsigned i = 0; i < BYTES / 4096; i++)
		nr += !(there[i] & 1);
	munmap(at, BYTES);
	return nr;
}

int main(void)
{
	int fd = memfd_create("file", 0), bad = ftruncate(fd, BYTES);

	bad |= missing(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	bad |= missing(PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	bad |= missing(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	bad |= mmap(NULL, BYTES, PROT_NONE, MAP_SHARED | MAP_POPULATE, fd, 0) == MAP_FAILED;
	puts(bad ? "populate: pages are missing" : "populate: all there");
	return bad;
}
"""


def test_populate_of_shared_memory(pagoda, initrd_with, tmp_path):
    """The thread does it itself, in its own time, and the pages are there when mmap returns."""
    (tmp_path / "root").mkdir()
    (tmp_path / "p.c").write_text(POPULATE)
    program = tmp_path / "root" / "p"
    subprocess.run(["musl-gcc", "-static", "-O", "-o", program, tmp_path / "p.c"], check=True)
    subprocess.run([program], check=True, stdout=subprocess.DEVNULL)
    result = pagoda(f"/root/p && {HEALTH}", initrd=initrd_with(tmp_path / "root"), shell=True)
    assert "populate: all there" in result.output, result
