"""What the engine is to reach, beside what it reached. A miss is shown and fails nothing: machines differ."""


def judge(scenario, found):
    """Each aim of the scenario with what was measured; none for what was not."""
    ours, judged = found.get("staffetta", {}), []
    for bound, figures in scenario.aim.items():
        for figure, aim in figures.items():
            measured = found.get("postfix", {}).get("staffetta_ratio") if figure == "postfix_ratio" else ours.get(figure)
            if measured is not None:
                met = measured >= aim if bound == "at_least" else measured <= aim
                judged.append({"figure": figure, "bound": bound, "aim": aim, "measured": measured, "met": met})
    return judged


def lines(result):
    """The same as text."""
    for entry in result["scenarios"]:
        for name, one in [("", entry), *entry.get("variants", {}).items()]:
            place = f"{entry['scenario']}, {name}" if name else entry["scenario"]
            for aim in one["aims"]:
                verdict = "met" if aim["met"] else "missed"
                yield f"{place}: {aim['figure']} {aim['bound'].replace('_', ' ')} {aim['aim']:,}: {aim['measured']:,} ({verdict})"
