"""A line chart as SVG, for a result that is a curve. Pure: points in, text out."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 70, 190, 40, 50
FONT = 'font-family="sans-serif" font-size="13"'
COLOURS = ("#1f6feb", "#d1570f", "#1a7f37", "#8250df")


def line_chart(
    title: str, across: str, up: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, marks: int = 4
) -> str:
    """Return the chart of one or more lines over common axes that begin at 0."""
    most_across = max((x for points in lines.values() for x, _ in points), default=1) or 1
    most_up = max((y for points in lines.values() for _, y in points), default=1) or 1

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + x / most_across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - max(y, 0) / most_up * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for mark in range(marks + 1):
        x, y = most_across * mark / marks, most_up * mark / marks
        (left, at), (at_x, bottom) = place(0, y), place(x, 0)
        parts.append(f'<line x1="{left:.1f}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#d8dee4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y:,.0f}</text>')
        parts.append(f'<text x="{at_x:.1f}" y="{bottom + 20:.1f}" text-anchor="middle">{x:,.0f}</text>')
    for place_of_line, (name, points) in enumerate(lines.items()):
        colour = COLOURS[place_of_line % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        end_x, end_y = place(*points[-1])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{end_x + 6:.1f}" y="{end_y + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    middle = (WIDTH - RIGHT + LEFT) / 2
    turned = f'transform="rotate(-90 14 {HEIGHT / 2})"'
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>')
    parts.append(f'<text x="14" y="{HEIGHT / 2}" {turned} text-anchor="middle">{escape(up)}</text>')
    return "\n".join([*parts, "</svg>", ""])
