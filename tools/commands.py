#!/usr/bin/env python3
"""Print the names of the monitor's commands that the shell has too, one a line.

Read from the one table, kernel/monitor/commands.c. A command marked CMD_PLAIN there has a program of its name
in busybox that is the right one in the shell; one marked CMD_DEBUG is in debug builds (--debug) only.
"""

import os
import re
import sys

TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                     "kernel", "monitor", "commands.c")
ENTRY = re.compile(r'\{"(\w+)", T_\w+,(.*?)\bcmd_\w+,', re.DOTALL)


def names(debug):
    with open(TABLE, encoding="utf-8") as file:
        for name, rest in ENTRY.findall(file.read()):
            flags = re.sub(r'"(\\.|[^"\\])*"', "", rest)
            if "CMD_PLAIN" not in flags and (debug or "CMD_DEBUG" not in flags):
                yield name


if __name__ == "__main__":
    print("\n".join(names("--debug" in sys.argv[1:])))
