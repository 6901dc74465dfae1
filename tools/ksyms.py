#!/usr/bin/env python3
"""Turn `nm -n` of the linked kernel into the C table that kernel/ksyms.c searches.

    nm -n pass1.elf | ksyms.py > ksyms1.c
    ksyms.py --empty > ksyms0.c              the table of the first link

Only functions: symbols between __text_start and __text_end. NASM's local labels (function.label)
are dropped, the compilers' parts of functions (function.cold, function.isra.0) are kept.
"""

import re
import sys

PART = re.compile(r"\.(cold|part|isra|constprop|llvm)(\.|$)")


def read_symbols(lines):
    """[(address, name)] of the functions, sorted, one name per address."""
    symbols, inside = [], False
    for line in lines:
        fields = line.split()
        if len(fields) != 3:
            continue
        address, kind, name = int(fields[0], 16), fields[1], fields[2]
        if name == "__text_start":
            inside, start = True, address
        elif name == "__text_end":
            return start, symbols
        elif inside and kind in "tTwW" and ("." not in name or PART.search(name)):
            if not symbols or symbols[-1][0] != address:
                symbols.append((address, name))
            elif kind in "TW":
                symbols[-1] = (address, name)
    raise SystemExit("ksyms.py: no __text_start .. __text_end in the input")


def print_table(start, symbols):
    print("/* made by tools/ksyms.py */")
    print('#include "ksyms.h"')
    print("const u32 __section(\".ksyms\") ksyms_count = %d;" % len(symbols))
    print("const struct ksym __section(\".ksyms\") ksyms[] = {")
    name_offset = 0
    for address, name in symbols:
        print("\t{0x%x, %d}," % (address - start, name_offset))
        name_offset += len(name) + 1
    print("\t{0xffffffff, 0}," + "\n};")
    print("const char __section(\".ksyms\") ksyms_names[] =")
    for _, name in symbols:
        print('\t"%s\\0"' % name)
    print('\t"";')


if "--empty" in sys.argv:
    print_table(0, [])
else:
    print_table(*read_symbols(sys.stdin))
