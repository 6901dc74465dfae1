#!/usr/bin/env python3
"""Write docs/monitor.md from what the kernel itself says (`help --json`), or compare them.

    tools/monitor_doc.py [--build DIR] [--check]
"""

import argparse
import json
import os
import sys

import qemu

PAGE = os.path.join(qemu.ROOT, "docs", "monitor.md")

HEAD = """# The monitor

The kernel's own commands. Names, paths and fields are Linux's where Linux has them. Typing, history and grammar below are those
of the kernel's prompt; in the shell the same commands are programs on the PATH, with the shell's grammar. This page is made by
`tools/monitor_doc.py` from the table of commands in [`kernel/monitor/commands.c`](../kernel/monitor/commands.c); a test compares
them.

## Three entries to one table

| | shell | console | stopped |
| --- | --- | --- | --- |
| entered by | `make run`: each command is a program, `pagoda CMD` too where busybox has one of that name | `make run MONITOR=1` | a BREAK on the serial line (`Ctrl-] b` in QEMU), `Ctrl-\\` twice in the shell, or a panic with a person there |
| runs in | a kernel thread for each command (a *session*), while ring 3 waits | the console's thread | the interrupt |
| other CPUs | run | run | stand still, by NMI |
| commands | all; `run PROGRAM` is the shell's own | all | those marked *stopped*: they take no lock and never sleep |
| left by | `poweroff` | `poweroff` | `continue` or Ctrl-D (BREAK); `poweroff` |

## Typing

Arrows, Home, End, Delete, Ctrl-A B C D E F H K L N P U W; history; Tab for commands, paths, subcommands and values. CR, LF
and CR LF end a line. A line has at most 4095 characters; a longer one is refused as a whole. While a program
runs in the foreground what is typed is the program's; Ctrl-C ends it.

| form | meaning |
| --- | --- |
| `a ; b` | both, in order, whatever a's status |
| `a && b` | b only when a had status 0 |
| `run PROGRAM &` | do not wait |
| `echo VALUE > PATH` | write a setting of /sys or /proc/sys |
| `'...'` `"..."` `\\c` | as in sh; `$?` is replaced outside of `'...'` |
| `# ...` | comment, to the end of the line |

Status 0: done. 1: failed. 2: wrong usage. 127: no such command. `run`: the program's own, or 128 + the signal.

## From outside

`make run CMD='a && b'` gives the line to the shell, prints, and leaves the machine with the shell's status, behind one line
`RESULT n=1 status=S cmd="..."`. With `MONITOR=1` the kernel runs it: the status is that of the first command that failed, 0 if none did; `;` goes on
after a failure and `&&` does not; and behind each command stands one line `RESULT n=N status=S cmd="..."`. When the status is not 0, make
says `Error STATUS` and fails (make's own exit status is then always 2). Commands marked *json* take `--json` and
answer with one line, `{"v":1,"cmd":NAME,...}`; addresses are strings in hexadecimal, an error is `"error":TEXT`.
"""


def commands(build):
    """What `help --json` says."""
    result = qemu.Guest(qemu.Options(build=build, smp=1, cmd="help --json")).run(limit=60)
    if result.verdict != "pass":
        raise SystemExit(f"monitor_doc.py: {result}")
    line = next(line for line in result.output.splitlines() if line.startswith('{"v":1'))
    return json.loads(line)["commands"]


def marks(command):
    words = [word for word in ("stopped", "json") if command[word]]
    return ", ".join(words + (["debug builds"] if command["debug"] else []))


def page(table):
    text = HEAD
    topic = None
    for command in table:
        if command["topic"] != topic:
            topic = command["topic"]
            text += f"\n## {topic.capitalize()}\n"
        text += f"\n### {command['name']}\n\n    {command['name']} {command['usage']}".rstrip() + "\n\n"
        text += "\n".join(line.rstrip() if not line.startswith("  ") else f"- `{line.split()[0]}` "
                          + " ".join(line.split()[1:]) for line in command["meaning"].split("\n")) + "\n\n"
        text += f"Example: `{command['example']}`."
        if command["linux"] != "-":
            text += f" Linux: `{command['linux']}`."
        text += f" *{marks(command)}*\n" if marks(command) else "\n"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(qemu.ROOT, "build", "release"))
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    text = page(commands(args.build))
    if not args.check:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(text)
        return 0
    with open(PAGE, encoding="utf-8") as file:
        if file.read() == text:
            return 0
    print("docs/monitor.md is not what `help` says: run tools/monitor_doc.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
