"""What a session found: one JSON object for programs, and the same as text for people."""

from . import aims, calls, senders

MAIN = ("msgs_per_s", "cpu_us_per_msg", "rss_mb", "anon_mb")
NOISY = 0.10
"""Part of the machine that others used, above which a figure is marked."""
COLUMNS = ("", "msgs/s", "lowest - highest", "ratio", "CPU µs", "RSS MB", "anon MB", "accept p50/p99", "deliver p50/p99", "durable", "messages", "runs")


def build(options, chosen, facts, tools, outcomes):
    """Everything, as JSON."""
    return {
        "quick": options.quick, "runs": options.runs, "machine": facts, "tools": tools,
        "scenarios": [scenario(options, variants, facts, outcomes) for variants in chosen.values()],
    }


def scenario(options, variants, facts, outcomes):
    base, *more = variants
    found = {one.variant: all_senders(options, one, facts, outcomes) for one in variants}
    compare(found)
    scale(options, variants, found)
    entry = {"scenario": base.name, "title": base.title, "parameters": base.parameters(), **found[""], "aims": aims.judge(base, found[""])}
    if more:
        entry["variants"] = {
            one.variant: {"parameters": one.parameters(), **found[one.variant], "aims": aims.judge(one, found[one.variant])} for one in more}
    return entry


def compare(found):
    """What a long queue costs, for who was measured with a short one too."""
    for sender, figures in found[""].items():
        short = found.get("short", {}).get(sender, {})
        if "msgs_per_s" in figures and "msgs_per_s" in short:
            figures["short_ratio"] = round(figures["msgs_per_s"] / short["msgs_per_s"], 3)


def scale(options, variants, found):
    """What a message costs by what it costs where the scaled parameter is smallest; of shards also what they would give."""
    if not variants[0].scale:
        return
    for sender in options.senders:
        sizes = {one.variant: one.size(sender, options.quick) for one in variants if "cpu_us_per_msg" in found[one.variant].get(sender, {})}
        smallest = min(sizes, key=sizes.get, default=None)
        for variant, size in sizes.items():
            figures, least = found[variant][sender], found[smallest][sender]
            figures["cpu_ratio"] = round(figures["cpu_us_per_msg"] / least["cpu_us_per_msg"], 3)
            if variants[0].scale == "shards":
                figures["shards_gain"] = round(size / sizes[smallest] / figures["cpu_ratio"], 2)


def all_senders(options, scenario, facts, outcomes):
    found = {}
    for sender in options.senders:
        outcome = outcomes.get((scenario.name, scenario.variant, sender))
        if outcome:
            found[sender] = one_sender(outcome, facts)
    ours = found.get("staffetta", {}).get("msgs_per_s")
    for sender, figures in found.items():
        if sender != "staffetta" and ours and figures.get("msgs_per_s"):
            figures["staffetta_ratio"] = round(ours / figures["msgs_per_s"], 2)
    return found


def one_sender(outcome, facts):
    """Medians; what is missing or void says so instead."""
    if outcome.missing:
        return {"missing": outcome.missing}
    kind = senders.ALL[outcome.sender]
    on_disk = not facts["disk"]["is_memory"]
    figures = {
        "durable": kind.durable and on_disk,
        "durability": kind.durability if on_disk else f"the spool was in memory ({facts['disk']['filesystem']})",
        "valid_runs": len(outcome.runs), "void": outcome.void,
    }
    if outcome.runs:
        figures = {**outcome.median(), **figures, "spread": {name: outcome.spread(name) for name in MAIN if name in outcome.median()}, "each": outcome.runs}
    return figures


def text(result):
    """The table for a terminal."""
    return "\n".join([*head(result), *table(result), *foot(result)]) + "\n"


def head(result):
    machine, disk = result["machine"], result["machine"]["disk"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores (used: {machine['cpus_used']}), {machine['memory_gb']} GB, Linux {machine['kernel']}",
        f"{disk['filesystem']} on {disk['device']}: 4 KiB durable in {disk['fdatasync_p50_us']} µs, p99 {disk['fdatasync_p99_us']} µs",
        f"commit {machine['commit']}, profile {machine['profile']}, load before {machine['load_before']}, {machine['at']}",
        ", ".join(f"{name}: {version}" for name, version in machine["versions"].items()),
    ]
    if machine["note"]:
        lines.append(machine["note"])
    if disk["is_memory"]:
        lines.append("NOTHING IS DURABLE: the spools are in memory. Give --data a directory on a disk.")
    if machine["load_before"] > machine["cores"] / 4:
        lines.append(f"NOT QUIET: others kept {machine['load_before']} processes running before the session. Rates mean little, ratios and CPU a little more.")
    if result["quick"]:
        lines.append(f"QUICK: {result['runs']} short runs each. Figures wobble; a run without --quick is the one to quote.")
    lines += ["", "The tools alone, injector to sink, on the same processors:"]
    for tool in result["tools"]:
        lines.append(
            f"  {tool['message_bytes']:,} bytes, {tool['mode']}, {tool['connections']} connections: {tool['msgs_per_s']:,.0f}/s; "
            f"CPU per message {tool['inject_cpu_us_per_msg']:.1f} µs injector, {tool['sink_cpu_us_per_msg']:.1f} µs sink")
    return lines


def table(result):
    lines = []
    for name, title, found in sections(result):
        rows = [row(sender, figures) for sender, figures in found.items()]
        lines += ["", f"{name}: {title}"] + grid([COLUMNS, *rows])
    return lines


def sections(result):
    """Each table of senders: its name, its title, the senders' figures."""
    for entry in result["scenarios"]:
        yield entry["scenario"], entry["title"], figures_of(entry)
        for variant, found in entry.get("variants", {}).items():
            if not figures_of(found):
                continue
            yield f"{entry['scenario']}, {variant}", differences(entry["parameters"], found["parameters"]), figures_of(found)


def figures_of(entry):
    return {name: entry[name] for name in senders.ALL if name in entry}


def differences(base, other):
    """What a variant has otherwise."""
    changed = [f"{name} {value}" for name, value in other.items() if value != base[name] and name not in ("messages", "quick_messages", "senders")]
    return ", ".join(changed) or "fewer messages"


def row(sender, figures):
    if "missing" in figures:
        return (sender, figures["missing"])
    if not figures["valid_runs"]:
        return (sender, "void: " + figures["void"][0])
    if "idle_cpu_percent" in figures:
        return (sender, "idle: its figures stand below")
    low, high = figures["spread"]["msgs_per_s"]
    mark = "~" if figures.get("other_cpu_share", 0) > NOISY else ""
    void = f" ({len(figures['void'])} void)" if figures["void"] else ""
    return (
        sender, f"{figures['msgs_per_s']:,.0f}{mark}", f"{low:,.0f} - {high:,.0f}", ratio(figures), cost(figures),
        f"{figures['rss_mb']:,.0f}", f"{figures['anon_mb']:,.0f}", pair(figures, "accept"), pair(figures, "delivery"),
        "yes" if figures["durable"] else "no", f"{figures['messages']:,.0f}", f"{figures['valid_runs']}{void}")


def cost(figures):
    """Its processor time, and by how much that is more than where the scaled parameter is smallest."""
    grown = f" (x{figures['cpu_ratio']:.2f})" if "cpu_ratio" in figures else ""
    return f"{figures['cpu_us_per_msg']:,.1f}{grown}"


def ratio(figures):
    return f"{figures['staffetta_ratio']:.1f}" if "staffetta_ratio" in figures else ""


def pair(figures, what):
    if f"{what}_p50_ms" not in figures:
        return ""
    return f"{figures[f'{what}_p50_ms']:,.1f} / {figures[f'{what}_p99_ms']:,.1f} ms"


def grid(rows):
    """Columns side by side; a row that only says something is not measured for its width."""
    full = [row for row in rows if len(row) == len(COLUMNS)]
    widths = [max(len(row[column]) for row in full) for column in range(len(COLUMNS))]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for cells in rows:
        first, *rest = cells
        if len(cells) == len(COLUMNS):
            rest = [cell.rjust(width) for cell, width in zip(rest, widths[1:])]
        lines.append(("  " + "  ".join([first.ljust(widths[0]), *rest])).rstrip())
    return lines


def foot(result):
    lines = [""] + [f"{name}: {value}" for name, value in specials(result)] + list(called(result))
    judged = list(aims.lines(result))
    lines += ["", "Aims, for two cores shared with the tools:"] + [f"  {line}" for line in judged] if judged else []
    lines += [
        "", "Medians. ratio: our msgs/s by theirs. CPU µs: user and system time of the engine's processes for a message. RSS: at its peak, pages of",
        "mapped files included; anon: without them. ~: others used more than a tenth of the machine."]
    return lines


def scaled(entry):
    """How the cost of a message grows with what is scaled, one line a sender."""
    by = entry["parameters"]["scale"]
    for sender in senders.ALL:
        told = []
        for one in (entry, *entry.get("variants", {}).values()):
            figures = one.get(sender, {})
            if "cpu_ratio" in figures:
                size = figures["messages"] if by == "messages" else one["parameters"][by]
                gain = f" (rate x{figures['shards_gain']:.2f} where each has a processor)" if figures.get("shards_gain", 1) != 1 else ""
                told.append((size, f"{size:,.0f}: x{figures['cpu_ratio']:.2f}{gain}"))
        if len(told) > 1:
            yield f"{sender}: CPU of a message by {by.replace('_', ' ')}: " + ", ".join(text for _, text in sorted(told))


def specials(result):
    """Figures that only one scenario has."""
    for entry in result["scenarios"]:
        for line in scaled(entry) if entry["parameters"]["scale"] else ():
            yield entry["scenario"], line
    for entry in result["scenarios"]:
        ours = entry.get("staffetta", {})
        if "idle_cpu_percent" in ours:
            yield entry["scenario"], (
                f"{ours['messages']:,.0f} recipients that are due later: {ours['idle_cpu_percent']:.2f} % of a processor and {ours['idle_wakes_per_s']:.0f} wakes a "
                f"second over {ours['idle_s']:.0f} s; {ours['anon_bytes_per_waiting']:.0f} bytes of memory a recipient; taken at {ours['taken_per_s']:,.0f}/s")
        if "spool_bytes_per_recipient" in ours:
            yield entry["scenario"], (
                f"{ours['spool_bytes_per_recipient']:.0f} bytes of spool and {ours['anon_bytes_per_waiting']:.0f} of memory a waiting recipient; "
                f"list taken at {ours['submit_per_s']:,.0f}/s for {ours['submit_cpu_us_per_msg']:.1f} µs each, which CPU µs includes")
        if "short_ratio" in ours:
            yield entry["scenario"], (
                f"{ours['messages']:,.0f} waiting drain at {ours['short_ratio']:.0%} of the rate of a short queue; "
                f"{ours['anon_growth_mb']:.0f} MB more memory beyond the map; filled at {ours['fill_msgs_per_s']:,.0f}/s")


def called(result):
    """The system calls of each sender, where they were counted."""
    for name, _, found in sections(result):
        for sender, figures in found.items():
            told = calls.lines(figures)
            if told:
                yield f"{name}: {sender}: {told}"


def markdown(result, pictures):
    """The page of a recorded run."""
    lines = ["# A recorded run", "", "Made by `perf/run`; how to read it: [README](../README.md).", ""]
    lines += [f"- {line}" if line and not line.startswith("  ") else line.replace("  ", "  - ", 1) for line in head(result) if line]
    lines += [""] + [f"![{name}]({name})" for name in pictures] + [""]
    for name, title, found in sections(result):
        lines += [f"## {name}", "", title, "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        for sender, figures in found.items():
            cells = row(sender, figures)
            lines.append("| " + " | ".join([*cells, *[""] * (len(COLUMNS) - len(cells))]) + " |")
        lines.append("")
    lines += ["## More", ""] + [f"- {name}: {value}" for name, value in specials(result)] + [f"- {line}" for line in called(result)] + [""]
    judged = list(aims.lines(result))
    if judged:
        lines += ["## Aims", "", "For two cores shared with the tools.", ""] + [f"- {line}" for line in judged] + [""]
    lines += ["Every run of every sender, and the parameters: [perf.json](perf.json)."]
    return "\n".join(lines) + "\n"
