"""Several nodes: what the firmware says arrives, memory is near its CPU and follows it; wrong wishes are refused."""

import re

import pytest

from qemu import Guest, Options, UsageError

NODE = "/sys/devices/system/node/"


def test_nodes_of_the_machine(pagoda):
    output = pagoda(f"cat {NODE}online && cat {NODE}node1/cpulist && cat {NODE}node1/distance && "
                    f"cat {NODE}node1/meminfo && cat /proc/sys/kernel/numa_balancing && "
                    "buddyinfo && check && ledger", mem="192M", smp=4, numa=2).output
    assert re.search(r"^0-1$", output, re.MULTILINE)
    assert re.search(r"^2-3$", output, re.MULTILINE)
    assert re.search(r"^20 10$", output, re.MULTILINE)
    total = re.search(r"^Node 1 MemTotal: +(\d+) kB", output, re.MULTILINE)
    assert 90 << 10 < int(total[1]) <= 96 << 10
    assert re.search(r"^1$", output, re.MULTILINE)          # balancing is on with several nodes
    assert "Node 0, zone    DMA32" in output and "Node 1, zone    DMA32" in output


def test_memory_on_both_sides_of_4g(pagoda):
    output = pagoda("buddyinfo && ktest numa && check && ledger", mem="5G", smp=2, numa=2, limit=120).output
    assert "Node 0, zone    DMA32" in output
    assert "Node 1, zone   Normal" in output
    assert not re.search(r"^ *not ok", output, re.MULTILINE)


@pytest.mark.parametrize("nodes", [2, 3])
def test_memory_follows(pagoda, nodes):
    output = pagoda("ktest numa && ktest migrate && check && ledger", mem="256M", smp=nodes, numa=nodes,
                    limit=120).output
    assert "SKIP" not in output.split("ok 1 numa")[0]
    assert not re.search(r"^ *not ok", output, re.MULTILINE)


def test_every_allocation_between_nodes_fails_once(pagoda):
    """mbind, move_pages and the fault that moves: each says so or leaves the page where it was."""
    output = pagoda("ktest no_memory.between_nodes && ktest no_memory.between_nodes_each_block && check && ledger",
                    mem="256M", smp=2, numa=2, debug=True, limit=60).output
    counts = [int(n) for n in re.findall(r"no memory: (\d+) failures injected", output)]
    assert len(counts) == 2 and counts[0] >= 60 and counts[1] >= 5, counts
    assert "SKIP" not in output and not re.search(r"^ *not ok", output, re.MULTILINE)


def test_one_node_has_nothing_to_balance(pagoda):
    output = pagoda(f"cat /proc/sys/kernel/numa_balancing && cat {NODE}online && ls {NODE}", mem="64M").output
    assert "node0" in output and "node1" not in output
    assert re.findall(r"^0$", output, re.MULTILINE) == ["0", "0"]


def changes(output):
    """What `numa follow` prints of /proc/vmstat: name -> by how much."""
    return {name: int(by) for name, by in re.findall(r"^(\w+) \+(\d+)$", output, re.MULTILINE)}


@pytest.mark.parametrize("nodes", [2, 3])
def test_memory_follows_a_program(pagoda, nodes):
    """8 MiB filled on a CPU of node 0, then used on one of the last node: four huge pages come, whole."""
    output = pagoda("run numa follow 30 && check && ledger", mem="256M", smp=nodes, numa=nodes, limit=120).output
    last = nodes - 1
    assert "filled on CPU 0: huge pages on nodes 0 0 0 0" in output
    assert f"used on CPU {last}: huge pages on nodes {last} {last} {last} {last}" in output
    moved = changes(output)
    assert moved["numa_huge_pte_updates"] >= 4
    assert moved["thp_migration_success"] >= 4
    assert moved["numa_pages_migrated"] >= 4 * 512
    assert moved["pgmigrate_success"] >= moved["numa_pages_migrated"]
    assert moved["numa_pte_updates"] >= 4 * 512
    assert moved["numa_hint_faults"] >= 4


def test_memory_follows_after_suites_that_balance_nothing(pagoda):
    """They switch balancing off and on again: the scanner must be told."""
    output = pagoda("ktest numa && ktest migrate && run numa follow 30 && check && ledger", mem="256M", smp=2, numa=2,
                    limit=120).output
    assert "memory followed to node 1" in output


def test_memory_stays_when_balancing_is_off(pagoda):
    result = pagoda("echo 0 > /proc/sys/kernel/numa_balancing && run numa follow 3", mem="256M", smp=2, numa=2,
                    limit=60, verdict="fail")
    assert "used on CPU 1: huge pages on nodes 0 0 0 0" in result.output
    assert changes(result.output)["numa_hint_faults"] == 0


@pytest.mark.parametrize("smp,numa", [(2, 1), (4, 2)])
def test_threads_stay_on_their_cpus(pagoda, smp, numa):
    output = pagoda("run numa affinity && check && ledger", mem="128M", smp=smp, numa=numa, limit=60).output
    assert "threads stay on their CPUs" in output


@pytest.mark.parametrize("nodes", [2, 3])
def test_memory_comes_from_where_it_is_bound_to(pagoda, nodes):
    output = pagoda("run numa policy && check && ledger", mem="256M", smp=nodes, numa=nodes, limit=60).output
    assert "memory comes from where it is bound to" in output


@pytest.mark.parametrize("what", ["affinity", "policy", "follow"])
def test_one_cpu_and_node_refuse_as_linux_does(pagoda, what):
    """The refusals are looked at, then there is nothing left to try: status 2, and no broken promise is told."""
    result = pagoda(f"run numa {what}", mem="128M", smp=1, verdict="fail")
    assert "status=2" in result.output and "numa: line" not in result.output


def test_settings_of_the_scanner(pagoda):
    folder = "/sys/kernel/debug/sched/numa_balancing/"
    output = pagoda(f"cat {folder}scan_delay_ms && cat {folder}scan_period_min_ms && cat {folder}scan_period_max_ms && "
                    f"cat {folder}scan_size_mb && echo 5000 > {folder}scan_period_max_ms && "
                    f"cat {folder}scan_period_max_ms", mem="64M").output
    assert re.findall(r"^\d+$", output, re.MULTILINE) == ["1000", "1000", "60000", "256", "5000"]


@pytest.mark.parametrize("value", ["2", "-1", "on", ""])
def test_settings_out_of_range(pagoda, value):
    result = pagoda(f"echo {value} > /proc/sys/kernel/numa_balancing", mem="64M", verdict="fail")
    assert result.status != 0


@pytest.mark.parametrize("wish", [{"numa": 9, "smp": 16}, {"numa": 3, "smp": 2}, {"numa": 0},
                                  {"numa": 2, "mem": "16M"}, {"numa": 2, "ram_file": True}])
def test_impossible_nodes(wish):
    with pytest.raises(UsageError):
        Guest(Options(**wish))


def test_frames_cost_little(pagoda):
    """Descriptors and records: at most 0.85 % of memory, however much there is."""
    for mem in ("32M", "512M", "2G"):
        output = pagoda("free", mem=mem).output
        percent = re.search(r"for describing them: ([\d.]+) %", output)
        assert 0.7 < float(percent[1]) <= 0.85
