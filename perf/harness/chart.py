"""Bars as an SVG picture: a group for each scenario, a bar for each sender, on a logarithmic scale."""

import html
import math

COLORS = {"staffetta": "#1f6f8b", "postfix": "#c8553d", "kumomta": "#d9a441", "kumomta-sync": "#8a6fae"}
WIDTH, ROW, BAR, LEFT, RIGHT, TOP = 960, 16, 13, 200, 90, 70


def svg(title, unit, groups):
    """`groups` are (name, {sender: value}); senders without a value are left out. Empty when there is nothing to draw."""
    groups = [(name, {sender: value for sender, value in bars.items() if value}) for name, bars in groups]
    values = [value for _, bars in groups for value in bars.values()]
    if not values:
        return ""
    low, high = math.floor(math.log10(min(values) * 0.8)), math.ceil(math.log10(max(values) * 1.2))
    width = lambda value: (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    parts, y = [], TOP
    for name, bars in groups:
        parts.append(words(LEFT - 10, y + ROW * len(bars) / 2 + 4, name, "end"))
        for sender, value in bars.items():
            parts.append(f'<rect x="{LEFT}" y="{y:.0f}" width="{max(1, width(value)):.1f}" height="{BAR}" fill="{COLORS[sender]}"/>')
            parts.append(words(LEFT + width(value) + 5, y + BAR - 2, f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"))
            y += ROW
        y += 12
    frame = [words(20, 26, f"{title} ({unit}, logarithmic)", size=17), *legend(groups), *lines(low, high, width, y)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 24}" viewBox="0 0 {WIDTH} {y + 24}" font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(frame + parts) + "\n</svg>\n")


def lines(low, high, width, bottom):
    """A line for each power of ten."""
    found = []
    for power in range(low, high + 1):
        x = LEFT + width(10.0**power)
        found.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#dddddd"/>')
        found.append(words(x, bottom + 14, f"{10.0 ** power:,.10g}", "middle", 11))
    return found


def legend(groups):
    names = [name for name in COLORS if any(name in bars for _, bars in groups)]
    found = []
    for number, name in enumerate(names):
        x = LEFT + 130 * number
        found.append(f'<rect x="{x}" y="40" width="12" height="12" fill="{COLORS[name]}"/>')
        found.append(words(x + 17, 51, name))
    return found


def words(x, y, text, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#222222">{html.escape(text)}</text>'
