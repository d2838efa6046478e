"""A session on disk: the figures as JSON, the tables as a page, the charts as pictures."""

import json

from . import chart, report

CHARTS = (
    ("rate.svg", "Messages per second", "more is better", "msgs_per_s"),
    ("cpu.svg", "CPU of the engine per message", "µs, less is better", "cpu_us_per_msg"),
    ("memory.svg", "Memory at its peak, without pages of mapped files", "MB, less is better", "anon_mb"),
)


def write(folder, result):
    """Writes everything into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "perf.json").write_text(json.dumps(result, indent=1) + "\n")
    pictures = []
    for name, title, unit, figure in CHARTS:
        picture = chart.svg(title, unit, [(section, points(found, figure)) for section, _, found in report.sections(result)])
        if picture:
            (folder / name).write_text(picture)
            pictures.append(name)
    (folder / "README.md").write_text(report.markdown(result, pictures))


def points(found, figure):
    """Median, lowest and highest of each sender that has the figure."""
    return {sender: (figures[figure], *figures["spread"][figure]) for sender, figures in found.items() if figure in figures}
