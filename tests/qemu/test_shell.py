"""The shell in ring 3: its commands are programs and the monitor's, and the way into the monitor and out again."""

import pytest
from console import at_prompt

PROMPT = r"pagoda:/# "


@pytest.mark.parametrize("smp", [1, 2])
def test_command_line(pagoda, smp):
    """CMD is the shell's; its status is the machine's."""
    result = pagoda("cat /proc/vmstat | grep thp_; ls /sys/kernel/mm/transparent_hugepage; ps; echo $((6*7))",
                    shell=True, smp=smp)
    assert "thp_fault_alloc " in result.output and "khugepaged" in result.output
    assert "\n42\nRESULT n=1 status=0" in result.output
    assert pagoda("exit 3", shell=True, smp=smp, verdict="fail").status == 3


def test_commands_of_the_monitor(pagoda):
    """They run by a call, with their own status; programs that they start are the shell's as well."""
    result = pagoda("thp && buddyinfo && run thptouch write 4M && demo thp && check && ledger", shell=True, limit=60)
    assert "AnonHugePages 4096 kB" in result.output and "ledger exact" in result.output
    assert "minor faults" in result.output
    assert pagoda("pt nonsense", shell=True, verdict="fail").status == 2


def test_programs_of_the_monitor_when_servers_run(pagoda):
    result = pagoda("run abi exit 3; run thptouch write 4M; run sh -c 'exit 5'", verdict="fail")
    assert 'status=3 cmd="run abi exit 3"' in result.output
    assert 'status=5 cmd="run sh -c exit 5"' in result.output


@pytest.mark.parametrize("way", ["break", "quit"])
def test_into_the_monitor_and_back(guest, way):
    """BREAK, or Ctrl-\\ twice in a row: everything stops, and goes on."""
    one = at_prompt(guest, shell=True, qmp=True)
    if way == "break":
        one.send_break()
    else:
        one.send("\x1c\x1c")
    one.expect(r"all CPUs are stopped")
    one.expect(r"\(stopped\)> ")
    one.send("uptime\r")
    one.expect(r"^up \d")
    one.expect(r"\(stopped\)> ")
    one.send("poweroff 7\r")
    assert one.wait().status == 7
