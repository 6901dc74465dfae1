#!/usr/bin/env python3
"""check_docs.py - what README.md, docs/ and the servers' pages name exists: files, folders, identifiers, commands, make's targets.

Links are followed from the page they stand on. In `code` and in indented blocks these are looked up:

    path/name.c, name.c     a file with this path, or below kernel/, or beside the page, or of this name
    kernel/mm/              a folder
    snake_case(), LOCK_MM   a word of the sources (or of the scripts)
    make NAME               a target of the Makefile
    CMD='a && b'            each of them: a command of kernel/monitor/commands.c, or a program of user/programs
    `command ARGS`          likewise, where the heading says "Look at it" or "Watch it"

docs/linux-abi.md has every call that is served and no other (kernel/syscall.c, servers/linux/calls.h), docs/ipc.md every native
call (include/abi/native.h): the first column of their tables that names one. Numbers are compared with the C library's.

An invariant's number (B4, H2) is its file's own: the file whose head explains it says "B4" alone, every other comment names that file
or the checker in the same breath: "B4 of buddy_check.c". The words L4 and D0 to D7 are no invariants (a family of kernels, debug
registers).

What is Linux's is not: columns headed "Linux", sections headed "What Linux does more", /proc and /sys.
No page may name a place of one machine (an absolute path into somebody's home or work folder).
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "servers").rglob("*.md"))]
ENDINGS = "c|h|asm|inc|py|sh|md|txt|json|cfg|ld|pml|suppress"
FILE = re.compile(rf"(?<![\w./*<-])([\w.-]+(?:/[\w.-]+)*\.(?:{ENDINGS}))(?![\w*/])")
FOLDER = re.compile(r"(?<![\w./$-])((?:\w[\w.-]*/)+)(?![\w*])")
IDENTIFIER = re.compile(r"(?<![\w/.-])(_?[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+)(?![\w/*]|\.\w|-\w)")
FOREIGN = re.compile(r"(?<![\w/])/(?:home|work|Users|mnt)/")
# Words of the texts that are no names of ours: Linux's paths and macros, tools, places in examples.
NOT_OURS = {"MAX_RW_COUNT", "x86_64", "oom_score_adj", "get_user_pages", "aligned_alloc", "hello.c", "touch64.c", "mine.txt", "build/linux/results.json"}


def sources():
    """Every file of the project, and every word in it that could be a name."""
    files, words = set(), set()
    for path in ROOT.rglob("*"):
        short = path.relative_to(ROOT)
        if not path.is_file() or short.parts[0] in (".git", "build") or "__pycache__" in short.parts:
            continue
        files.add(str(short))
        if path.suffix != ".md":
            words.update(re.findall(r"\w+", path.read_text(errors="replace")))
    return files, words


def served():
    """The Linux calls that are served: the kernel's table, and the personality's list."""
    kernel = (ROOT / "kernel/syscall.c").read_text()
    table = re.search(r"\btable\[NR_SYSCALLS\] = \{(.*?)\n\};", kernel, re.DOTALL)[1]
    calls = (ROOT / "servers/linux/calls.h").read_text()
    lists = re.findall(r"_CALLS\(X\)(.*?)\n\n", calls, re.DOTALL)
    return set(re.findall(r"\[SYS_(\w+)\]", table)) | {name for text in lists for name in re.findall(r"\bX\((\w+)\)", text)}


def native():
    """Pagoda's own calls."""
    header = (ROOT / "include/abi/native.h").read_text()
    calls = re.search(r"enum native_call \{(.*?)\n\};", header, re.DOTALL)[1]
    return set(re.findall(r"^\tSYS_([a-z]\w*)", calls, re.MULTILINE))


def numbers():
    """Linux's numbers as the C library of ring 3 has them; empty where it is not installed."""
    header = Path("/usr/include/x86_64-linux-musl/bits/syscall.h")
    return dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text())) if header.exists() else {}


def rows(text, title):
    """The cells of every row of the tables that have a column of this title, from that column on; and the cell before it."""
    column = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")] if line.startswith("|") else []
        if title in cells:
            column = cells.index(title)
        elif not cells:
            column = None
        elif column and "---" not in line:
            yield cells[column - 1], re.findall(r"`(\w+)`", cells[column])


def call_tables():
    """The pages' tables of calls against what is served."""
    known = numbers()
    for page, there in (("linux-abi.md", served()), ("ipc.md", native())):
        on_page = []
        for number, names in rows((ROOT / "docs" / page).read_text(), "call"):
            on_page += names
            if page == "linux-abi.md" and known and number != ", ".join(known.get(name, "?") for name in names):
                yield f"docs/{page}: {', '.join(names)}: the numbers are not {number}"
        for name in sorted(there - set(on_page)):
            yield f"docs/{page}: {name} is served, and not on the page"
        for name in sorted(name for name in set(on_page) if name not in there or on_page.count(name) > 1):
            yield f"docs/{page}: {name} is not served, or there twice"


def invariants():
    """Comments of the sources that name an invariant of another file, and not that file."""
    paths = [path for folder in ("kernel", "servers", "boot") for path in sorted((ROOT / folder).rglob("*.[ch]"))]
    texts = {path: path.read_text() for path in paths}
    head = {path: text[:text.find("*/")] for path, text in texts.items()}
    explained = {path: set(re.findall(r"(?:^ \*\s+|INVARIANTS?\s+|\s{2}|, )([A-Z]\d\d?)(?=\s{2}|, [A-Z]\d)", text, re.MULTILINE))
                 for path, text in head.items()}
    everywhere = set().union(*explained.values()) - {"L4"} - {f"D{n}" for n in range(8)}
    for path, text in texts.items():
        own = explained[path] | explained.get(path.with_suffix(".c"), set())
        for comment in re.finditer(r"/\*.*?\*/", text, re.DOTALL):
            for name in re.finditer(r"(?<![\w.%/#&-])([A-Z]\d\d?)(?![\w(%/])", comment[0]):
                near = comment[0][max(0, name.start() - 160):name.end() + 160]
                if name[1] in everywhere - own and not re.search(r"\w\.[ch]\b|_check\b", near):
                    line = text.count("\n", 0, comment.start() + name.start()) + 1
                    yield f"{path.relative_to(ROOT)}:{line}: whose {name[1]}? Name the file that explains it"


def commands():
    return set(re.findall(r'^\t\{"(\w+)", T_', (ROOT / "kernel/monitor/commands.c").read_text(), re.MULTILINE))


def targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {"all"}


def drop_linux(line, header):
    """The cells of a table's row that speak of Linux, emptied."""
    cells = line.split("|")
    for i, title in enumerate(header):
        if i < len(cells) and "linux" in title.lower():
            cells[i] = ""
    return "|".join(cells)


def pieces(text):
    """(number of the line, heading, is it code?, text) for everything that is looked at."""
    heading, header, fenced = "", [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
            continue
        if line.startswith("#") and not fenced:
            heading, header = line.lstrip("# "), []
        if "what linux does more" in heading.lower():
            continue
        if not fenced and line.startswith("|"):
            header = header or line.split("|")
            line = drop_linux(line, header)
        elif not fenced:
            header = []
        yield number, heading, False, line
        if fenced or line.startswith("    "):
            yield number, heading, True, line
        else:
            for span in re.findall(r"`([^`]+)`", line):
                yield number, heading, True, span


class Checker:
    """One page."""

    def __init__(self, page, known):
        self.page, self.known = page, known
        self.text = page.read_text()
        self.problems = []

    def problem(self, number, what):
        self.problems.append(f"{self.page.relative_to(ROOT)}:{number}: {what}")

    def links(self, number, line):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if "://" not in target and not (self.page.parent / target).exists():
                self.problem(number, f"the link {target} leads nowhere")

    def exists(self, name):
        files = self.known["files"]
        beside = self.page.parent / name
        return (name in files or "kernel/" + name in files or "include/" + name in files or beside.exists()
                or any(path.endswith("/" + name) for path in files))

    def names(self, number, code):
        if "/proc/" not in code and "/sys/" not in code:
            for name in FILE.findall(code):
                if not self.exists(name) and name not in NOT_OURS:
                    self.problem(number, f"there is no file {name}")
            for name in FOLDER.findall(code):
                if not any(("/" + path).find("/" + name) >= 0 for path in self.known["files"]) \
                        and not name.startswith(("proc/", "sys/", "build/")):
                    self.problem(number, f"there is no folder {name}")
        for name in IDENTIFIER.findall(code):
            if not self.is_word(name) and name not in NOT_OURS:
                self.problem(number, f"nothing is called {name}")

    def calls(self, number, heading, code):
        for name in re.findall(r"^\s*make ([a-z]\w*)", code):
            if name not in self.known["targets"]:
                self.problem(number, f"make has no target {name}")
        lines = [line for line in re.findall(r"CMD='([^']*)'", code) if line != "a && b"]
        if re.search(r"(?i)^(look at it|watch it)", heading) and not code.startswith(("make ", "break ")):
            lines.append(code)
        for line in lines:
            for part in re.split(r"&&|;", line):
                word = re.match(r"\s*([a-z]+)( |$)", part)
                if word and not (word[1] in self.known["commands"] | self.known["programs"]
                                 or line is code and not word[2] and word[1] in self.known["words"]):
                    self.problem(number, f"there is no command {word[1]}")

    def is_word(self, name):
        words = self.known["words"]
        if name.startswith("_"):         # the end of a name that stands before it
            return any(word.endswith(name) for word in words)
        return name in words or "SYS_" + name in words

    def run(self):
        for number, heading, code, text in pieces(self.text):
            if not code:
                self.links(number, text)
                if FOREIGN.search(text):
                    self.problem(number, "a place of one machine")
            elif text.strip():
                self.names(number, text)
                self.calls(number, heading, text)
        return self.problems


def main():
    files, words = sources()
    known = {"files": files, "words": words, "commands": commands(), "targets": targets(),
             "programs": {path.stem for path in (ROOT / "user/programs").glob("*.c")}}
    problems = [problem for page in PAGES for problem in Checker(page, known).run()]
    problems += call_tables()
    problems += invariants()
    for page in (page for page in PAGES if page.is_relative_to(ROOT / "docs")):
        name = str(page.relative_to(ROOT / "docs"))
        if name != "README.md" and f"({name})" not in (ROOT / "docs/README.md").read_text():
            problems.append(f"docs/README.md does not name {name}")
    for problem in problems:
        print(problem)
    if not problems:
        print(f"docs: {len(PAGES)} pages")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
