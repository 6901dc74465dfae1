"""The tables and the page of `make linux`, from its results (tools/linux.py).

The page is one file that needs nothing else: its charts are SVG drawn by matplotlib, with the colours as
variables of the page's style, so that it can be read on a light and on a dark screen; each chart stands
beside the table of the same numbers.
"""

import html
import io
import re

MORE = "more, by choice"


# ---- text ------------------------------------------------------------------------------------------


def number(value):
    return "-" if value is None else f"{value:,}"


def shown(value):
    return "-" if value is None else str(value)


def counters(record):
    delta = (record or {}).get("delta", {})
    return " ".join(f"{name}{change:+d}" for name, change in delta.items()) or "no counter"


def record_line(record):
    """Counters, smaps and layout of one record in a line."""
    if not record:
        return "no record"
    smaps, pages = record["smaps"], record["pages"]
    layout = pages["per_2m"] if len(pages["per_2m"]) < 60 else pages["per_2m"][:57] + "..."
    return (f"{counters(record)}; rss {smaps['rss_kb']} huge {smaps['anon_huge_kb']} kB; {layout}"
            + ("" if not record["rc"] else f"; rc {record['rc']} errno {record['errno']}"))


def semantics_table(results):
    lines = [f"Semantics: Linux {results['linux']} and Pagoda (cow=split); counters, smaps, layout per 2M"]
    for row in results["scenarios"]:
        lines.append(f"{row['verdict']:<10s}{row['name']:<34s} {record_line(row['linux'])}")
        for name, linux, pagoda in row["different"]:
            lines.append(f"{'':12s}{name}: Linux {shown(linux)}, Pagoda {shown(pagoda)}")
        if row["different"] or row["verdict"] == "missing":
            lines.append(f"{'':12s}because: {row['because'] or 'NOT KNOWN'}")
        lines += [f"{'':12s}this Linux differs from the recorded one: {text}" for text in row["record"]]
    chosen = [row for row in results["scenarios"] if row["chosen"] and not row["different"]]
    if chosen:
        lines += ["", f"With cow=copy, Pagoda's default, {len(chosen)} of them are different:",
                  "    " + chosen[0]["because"]]
        for row in chosen:
            lines.append(f"  {row['name']}")
            lines += [f"      {name}: Linux {shown(linux)}, Pagoda {shown(pagoda)}"
                      for name, linux, pagoda in row["chosen"]]
    return "\n".join(lines)


COST_FORM = "%-56s %13s %13s %13s %11s %8s %13s  %s"


def cost_table(results):
    lines = [COST_FORM % ("Cost: guest instructions", "Linux", "its rest", "Pagoda", "its rest", "ratio",
                          "Debian's way", ""),
             "(rest: without clearing and copying of pages; ratio: Linux / Pagoda)"]
    for group in results["cost"]:
        lines.append(group["title"])
        for row in group["rows"]:
            rest = row["rest"] if row.get("pages") or row.get("linux_row") == "2m_write" else {}
            ratio = f"{row['ratio']:.1f} x" if row["ratio"] else "-"
            verdict = row["verdict"] + (f" ({row['absent']})" if row["pagoda"] is None and row["absent"] else "")
            more = row["verdict"] == MORE
            lines.append((COST_FORM % ("  " + row["title"], number(row["linux"]), number(rest.get("linux")),
                                       number(row["pagoda"]), number(rest.get("pagoda")), ratio,
                                       number(row["default"]), verdict)).rstrip())
            lines += [f"      because: {row['because']}"] if more else []
    return "\n".join(lines)


def rows_of(results):
    return [row for group in results["cost"] for row in group["rows"]]


def good(results):
    """Every scenario equal, or different by choice; no row worse than Linux's or missing."""
    bad = {"WORSE", "not measured"}
    return (all(row["verdict"] == "equal" for row in results["scenarios"])
            and not any(row["verdict"] in bad for row in rows_of(results)))


def summary(results):
    scenarios, rows = results["scenarios"], rows_of(results)
    equal = sum(row["verdict"] == "equal" for row in scenarios)
    text = f"{equal} of {len(scenarios)} scenarios equal"
    only_split = sum(bool(row["chosen"]) for row in scenarios if not row["different"])
    if only_split:
        text += f" ({only_split} of them under cow=split only, by choice)"
    compared = [row for row in rows if row["ratio"]]
    worse = [row["name"] for row in rows if row["verdict"] == "WORSE"]
    chosen = [row["name"] for row in rows if row["verdict"] == MORE]
    over = [f"{row['name']} ({row['verdict']})" for row in rows if row["verdict"].startswith("over")]
    absent = [row["name"] for row in rows if row["verdict"] == "not there"]
    missing = [row["name"] for row in rows if row["verdict"] == "not measured"]
    if rows:
        text += f"; {len(compared) - len(worse) - len(chosen)} of {len(compared)} costs no higher than Linux's"
    for title, names in (("higher", worse), ("higher by choice", chosen), ("above their goal", over), ("not there yet", absent),
                         ("not measured", missing)):
        if names:
            text += f"\n{title}: {', '.join(names)}"
    flagged = sum(bool(row["record"]) for row in scenarios)
    if flagged:
        text += f"\n{flagged} rows where this Linux is not the recorded one"
    return text


# ---- charts ----------------------------------------------------------------------------------------

INK, LINUX, PAGODA, GRID = "#010203", "#010204", "#010205", "#010206"        # replaced by the page's variables
VARIABLES = {INK: "--ink", LINUX: "--linux", PAGODA: "--pagoda", GRID: "--grid"}


def plotting():
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pagoda", "font.family": "sans-serif",
                            "font.size": 10, "text.color": INK, "axes.edgecolor": GRID,
                            "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
                            "axes.spines.top": False, "axes.spines.right": False})
    return pyplot


def svg_of(figure, title, description, name):
    """The drawing as an element of the page: titled, its colours from the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'font: ([^;"]*)', "font: 10px sans-serif", text)
    head = (f'<svg role="img" aria-labelledby="{name}-title {name}-text"',
            f'<title id="{name}-title">{html.escape(title)}</title><desc id="{name}-text">{html.escape(description)}</desc>')
    text = text.replace("<svg", head[0], 1)
    end = text.index(">") + 1
    return text[:end] + head[1] + text[end:]


def logarithmic(axis):
    from matplotlib.ticker import FuncFormatter
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.grid(axis="x", color=GRID, linewidth=0.6)
    axis.set_axisbelow(True)


def bars(pyplot, group, index):
    rows = [row for row in group["rows"] if row["linux"] and row["pagoda"]]
    if not rows:
        return ""
    figure, axis = pyplot.subplots(figsize=(9.5, 0.6 + 0.5 * len(rows)))
    for i, row in enumerate(rows):
        axis.barh(i - 0.19, row["linux"], 0.36, color=LINUX, label="Linux" if not i else None)
        axis.barh(i + 0.19, row["pagoda"], 0.36, color=PAGODA, label="Pagoda" if not i else None)
        axis.text(max(row["linux"], row["pagoda"]) * 1.08, i, f"{row['ratio']:.1f} x", va="center", fontsize=9)
    axis.set_yticks(range(len(rows)), [row["title"] for row in rows])
    axis.invert_yaxis()
    logarithmic(axis)
    axis.set_xlabel("guest instructions (logarithmic; shorter is cheaper)")
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=2)
    description = "; ".join(f"{row['title']}: Linux {row['linux']:,}, Pagoda {row['pagoda']:,}" for row in rows)
    svg = svg_of(figure, f"Cost of {group['title']}, Linux and Pagoda", description, f"bars{index}")
    pyplot.close(figure)
    return svg


FAULTS = (("4k_read", "4K read fault (zero page)"), ("4k_write", "4K write fault"),
          ("2m_read", "2M read fault (huge zero page)"), ("2m_write", "2M write fault"))


def histogram(pyplot, histograms):
    """How many of the faults cost how much: one panel for each kind, both kernels in it."""
    kinds = [(name, title) for name, title in FAULTS if all(name in histograms[k] for k in ("linux", "pagoda"))]
    if not kinds:
        return ""
    figure, axes = pyplot.subplots(len(kinds), 1, figsize=(9.5, 1.9 * len(kinds)), sharex=True, squeeze=False)
    words = []
    for (name, title), axis in zip(kinds, axes[:, 0]):
        for kernel, colour, label in (("linux", LINUX, "Linux"), ("pagoda", PAGODA, "Pagoda")):
            found = {int(ticks): n for ticks, n in histograms[kernel][name].items()}
            total = sum(found.values())
            axis.bar(list(found), [100 * n / total for n in found.values()],
                     width=[ticks / 9 for ticks in found], align="edge", color=colour, alpha=0.85, label=label)
            common = max(found, key=found.get)
            words.append(f"{title}, {label}: {total} faults, most often about {common:,}, at most {max(found):,}")
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        axis.set_ylim(0, 150)
        axis.set_ylabel("% of faults")
        logarithmic(axis)
    axes[0, 0].legend(frameon=False, loc="upper right", ncol=2)
    axes[-1, 0].set_xlabel("guest instructions for one fault (logarithmic)")
    figure.tight_layout()
    svg = svg_of(figure, "What faults cost, on Linux and on Pagoda", "; ".join(words), "histogram")
    pyplot.close(figure)
    return svg


# ---- the page --------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fdfdfb; --grid: #c9c9cf; --linux: #c2570c; --pagoda: #1d5fbf;
  --bad: #b00020; --soft: #f0f0ec; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e7ea; --paper: #16171b; --grid: #4a4b52; --linux: #f0a35e;
  --pagoda: #7db2ff; --bad: #ff8a8a; --soft: #23242a; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--soft); } caption { text-align: left; padding: .4rem 0; }
.bad { color: var(--bad); font-weight: bold; } code { font-size: 13px; } pre { white-space: pre-wrap; }
"""


def table(caption, head, rows, numeric=()):
    """head: titles; rows: lists of cells, which are HTML already."""
    def cells(tag, row):
        return "".join(f'<{tag}{" scope=col" if tag == "th" else ""}{" class=n" if i in numeric else ""}>{cell}</{tag}>'
                       for i, cell in enumerate(row))
    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return (f'<div class=scroll tabindex=0><table><caption>{html.escape(caption)}</caption>'
            f"<thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table></div>")


def marked(verdict):
    bad = verdict not in ("equal", "ok", "not there", "no Linux figure", MORE)
    return f"<span class=bad>{html.escape(verdict)}</span>" if bad else html.escape(verdict)


def semantics_rows(results):
    for row in results["scenarios"]:
        notes = [f"{name}: Linux {shown(a)}, Pagoda {shown(b)}" for name, a, b in row["different"]]
        if row["different"] or row["verdict"] == "missing":
            notes.append("because: " + (row["because"] or "not known"))
        notes += ["this Linux differs from the recorded one: " + text for text in row["record"]]
        if row["chosen"] and not row["different"]:
            notes += ["with cow=copy " + f"{name}: Linux {shown(a)}, Pagoda {shown(b)}" for name, a, b in row["chosen"]]
        yield [html.escape(row["name"]) + (f"<br><small>{html.escape(row['about'])}</small>" if row["about"] else ""),
               marked(row["verdict"]), f"<code>{html.escape(record_line(row['linux']))}</code>",
               f"<code>{html.escape(record_line(row['pagoda']))}</code>" if row["different"] else "the same",
               "<br>".join(map(html.escape, notes))]


def cost_rows(group):
    for row in group["rows"]:
        rest = row["rest"] if row.get("pages") or row.get("linux_row") == "2m_write" else {}
        yield [html.escape(row["title"]), number(row["linux"]), number(rest.get("linux")), number(row["pagoda"]),
               number(rest.get("pagoda")), f"{row['ratio']:.1f}" if row["ratio"] else "-", number(row["default"]),
               marked(row["verdict"]) + (f"<br><small>{html.escape(row['because'])}</small>" if row["verdict"] == MORE else "")]


def charts(results):
    if not results["cost"]:
        return "<p>The cost was not measured.</p>"
    pyplot = plotting()
    head = ["operation", "Linux", "its rest", "Pagoda", "its rest", "ratio", "Linux, Debian's defaults", "verdict"]
    parts = ["<h2>What one fault costs</h2>", histogram(pyplot, results["histograms"]),
             "<p>Each kind of fault was made between 31 and 16,384 times on both kernels. What lies far to the right are "
             "faults that refilled a list, made a page table or met the timer.</p><h2>What operations cost</h2>"
             "<p>Exact counts of guest instructions. <em>Rest</em>: without the clearing and copying of pages, which no "
             "kernel can do without.</p>"]
    for index, group in enumerate(results["cost"]):
        parts += [f"<h3>{html.escape(group['title'])}</h3>", bars(pyplot, group, index),
                  table(f"Guest instructions: {group['title']}", head, cost_rows(group), numeric=range(1, 7))]
    return "\n".join(parts)


def page(results):
    head = ["scenario", "verdict", "on Linux", "on Pagoda", "notes"]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pagoda beside Linux {html.escape(results["linux"])}</title><style>{STYLE}</style></head><body>
<h1>Pagoda beside Linux {html.escape(results["linux"])}</h1>
<p>The same static programs on both kernels, in the same emulator: {html.escape(results["machine"])}. Linux runs lean: no
mitigations, no KASLR, pages cleared once.</p>
<pre>{html.escape(summary(results))}</pre>
{charts(results)}
<h2>What both do</h2>
<p>Each scenario ran on both; every field of its record was compared: counters, faults, page tables, result, smaps, layout.
In a layout <code>C</code> is a huge page, <code>Z</code> the huge zero page, <code>aN/tN/zN</code> N small pages, N
pages of a huge one, N zero pages.</p>
{table("Scenarios, Linux and Pagoda with cow=split", head, semantics_rows(results))}
</body></html>
"""
