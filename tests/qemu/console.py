"""A guest whose console is typed at: to its prompt, a line and what it printed, whether the kernel is still sound."""

MONITOR = r"pagoda> $"
SHELL = r"pagoda:/# (?:\x1b\[6n)?$"


def at_prompt(guest, shell=False, **options):
    """A guest at its first prompt: the monitor's, or the shell's."""
    one = guest(shell=shell, **options)
    one.prompt = SHELL if shell else MONITOR
    one.expect(one.prompt, limit=30)
    return one


def ask(one, line, limit=20):
    """Type a line; what was printed between it and the next prompt."""
    start = one.seen
    one.send(line + "\r")
    end = one.expect(r"\n" + one.prompt, limit).start()
    return one.text[start:end + 1].split("\n", 1)[1]


def healthy(one):
    assert "BROKEN" not in ask(one, "check", 60)
    assert "ledger exact" in ask(one, "ledger", 60)
