# SPDX-License-Identifier: BSD-3-Clause
"""Charts as SVG text: grouped bars with their spread, and lines. No library, and the same bytes from
the same figures, so that a committed chart changes only when a figure did."""

import math
from html import escape

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 46, 56
COLOURS = ["#1f5fa8", "#d9822b", "#2e8b57", "#a63d57", "#7a5ea8", "#8a8a8a", "#c2a83e", "#3aa0a8", "#555555"]


def number(value):
    if value == 0:
        return "0"
    if value >= 1e6 and value % 1e5 == 0:
        return f"{value / 1e6:g} M"
    if value >= 1e3 and value % 100 == 0:
        return f"{value / 1e3:g} k"
    return f"{value:g}"


class Linear:
    """Ticks at 1, 2 or 5 times a power of ten, about six of them, from 0."""

    def __init__(self, top):
        step = 10 ** math.floor(math.log10(top / 5)) if top > 0 else 1
        step *= next(m for m in (1, 2, 5, 10) if top / (step * m) <= 6)
        self.top = math.ceil(top / step) * step
        self.ticks = [step * i for i in range(round(self.top / step) + 1)]

    def at(self, value):
        return value / self.top


class Log:
    """Decades, whole ones outside of the values."""

    def __init__(self, low, top):
        self.low, self.top = math.floor(math.log10(low)), math.ceil(math.log10(top))
        self.top = max(self.top, self.low + 1)
        self.ticks = [10.0**e for e in range(self.low, self.top + 1)]

    def at(self, value):
        return (math.log10(value) - self.low) / (self.top - self.low)


class Names:
    """Equally spaced places, one per name."""

    def __init__(self, names):
        self.ticks = list(names)

    def at(self, name):
        return (self.ticks.index(name) + 0.5) / len(self.ticks)


class Chart:
    def __init__(self, title, x_label, y_label, x, y):
        self.x, self.y = x, y
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="sans-serif" font-size="13" role="img" aria-label="{escape(title)}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        ]
        self.words(LEFT, 24, title, "start", 16)
        self.words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label)
        self.parts.append(
            f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
            f'text-anchor="middle" fill="#222222">{escape(y_label)}</text>')
        self.axes()
        self.legend_rows = 0

    def px(self, value):
        return LEFT + self.x.at(value) * (WIDTH - LEFT - RIGHT)

    def py(self, value):
        return HEIGHT - BOTTOM - self.y.at(value) * (HEIGHT - TOP - BOTTOM)

    def words(self, x, y, text, anchor="middle", size=13):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'fill="#222222">{escape(str(text))}</text>')

    def line(self, x1, y1, x2, y2, colour, width=1.0):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="{colour}" stroke-width="{width}"/>')

    def axes(self):
        for tick in self.y.ticks:
            self.line(LEFT, self.py(tick), WIDTH - RIGHT, self.py(tick), "#dddddd")
            self.words(LEFT - 8, self.py(tick) + 4, number(tick), "end")
        for tick in self.x.ticks:
            label = tick if isinstance(tick, str) else number(tick)
            self.words(self.px(tick), HEIGHT - BOTTOM + 18, label)
        self.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "#444444")

    def legend(self, name, colour):
        y = TOP + 20 * self.legend_rows
        x = WIDTH - RIGHT + 16
        self.parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>')
        self.words(x + 18, y + 11, name, "start", 12)
        self.legend_rows += 1

    def finish(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def bars(title, x_label, y_label, series):
    """series: {name: {group: (median, low, high)}}, groups in the order of the first series."""
    groups = list(next(iter(series.values())))
    top = max(high for values in series.values() for _median, _low, high in values.values())
    chart = Chart(title, x_label, y_label, Names(groups), Linear(top))
    room = (WIDTH - LEFT - RIGHT) / len(groups) * 0.84
    width = room / len(series)
    for i, (name, values) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        chart.legend(name, colour)
        for group, (median, low, high) in values.items():
            x = chart.px(group) - room / 2 + i * width
            y = chart.py(median)
            chart.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width * 0.9:.1f}" '
                               f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{colour}"/>')
            chart.line(x + width * 0.45, chart.py(low), x + width * 0.45, chart.py(high), "#000000")
    return chart.finish()


def lines(title, x_label, y_label, series, x, y=None):
    """series: {name: [(x, y), …]}; x and y: the axes (y None: linear from 0)."""
    points = [value for values in series.values() for _place, value in values]
    chart = Chart(title, x_label, y_label, x, y or Linear(max(points)))
    for i, (name, values) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        chart.legend(name, colour)
        at = [(chart.px(place), chart.py(value)) for place, value in values]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in at)
        chart.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        chart.parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in at]
    return chart.finish()
