"""Medians as dots and spreads as lines, as an SVG picture: a group for each scenario, a row for each sender. The scale is logarithmic,
because a hundred and a hundred thousand stand in one picture; so nothing is drawn from a zero that is not there."""

import html
import math

COLORS = {"staffetta": "#1f6f8b", "postfix": "#c8553d", "kumomta": "#d9a441", "kumomta-sync": "#8a6fae"}
WIDTH, ROW, GAP, LEFT, RIGHT, TOP = 960, 17, 9, 200, 110, 70


def svg(title, unit, groups):
    """`groups` are (name, {sender: (median, lowest, highest)}). Empty when there is nothing to draw."""
    groups = [(name, {sender: three for sender, three in rows.items() if min(three) > 0}) for name, rows in groups]
    values = [value for _, rows in groups for three in rows.values() for value in three]
    if not values:
        return ""
    low, high = math.floor(math.log10(min(values) * 0.95)), math.ceil(math.log10(max(values) * 1.05))
    place = lambda value: LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    parts, y = [], TOP
    for number, (name, rows) in enumerate(groups):
        height = ROW * len(rows) + GAP
        if number % 2 == 0:
            parts.append(f'<rect x="0" y="{y}" width="{WIDTH}" height="{height}" fill="#f5f5f3"/>')
        parts.append(words(LEFT - 12, y + height / 2 + 4, name, "end"))
        for line, (sender, three) in enumerate(rows.items()):
            parts += row(y + GAP / 2 + ROW * (line + 0.5), COLORS[sender], [place(value) for value in three], three[0])
        y += height
    scale = lines(low, high, place, y)
    frame = [words(20, 26, f"{title} ({unit})", size=17), *legend(groups)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 24}" viewBox="0 0 {WIDTH} {y + 24}" font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(frame + parts + scale) + "\n</svg>\n")


def row(y, color, places, median):
    """The line from the lowest to the highest, the dot of the median, and its value."""
    at, first, last = places
    number = f"{median:,.0f}" if median >= 100 else f"{median:,.1f}"
    return [
        f'<line x1="{first:.1f}" y1="{y:.1f}" x2="{last:.1f}" y2="{y:.1f}" stroke="{color}" stroke-width="3" stroke-opacity="0.45"/>',
        f'<circle cx="{at:.1f}" cy="{y:.1f}" r="5" fill="{color}"/>',
        words(last + 10, y + 4, number),
    ]


def lines(low, high, place, bottom):
    """A line for each power of ten."""
    found = []
    for power in range(low, high + 1):
        x = place(10.0**power)
        found.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="#999999" stroke-opacity="0.4"/>')
        found.append(words(x, bottom + 15, f"{10.0 ** power:,.10g}", "middle", 11))
    return found


def legend(groups):
    names = [name for name in COLORS if any(name in rows for _, rows in groups)]
    found = []
    for number, name in enumerate(names):
        x = LEFT + 130 * number
        found += [f'<circle cx="{x + 6}" cy="46" r="5" fill="{COLORS[name]}"/>', words(x + 17, 50, name)]
    return [*found, words(LEFT + 130 * len(names), 50, "dot: median; line: lowest to highest run; logarithmic scale")]


def words(x, y, text, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#222222">{html.escape(text)}</text>'
