"""A terminal's screen, with its colours as ANSI escapes (SGR), as an SVG that needs nothing from anywhere.

Not a terminal: what moves the cursor is not understood; `tmux capture-pane -e` prints none of it.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from html import escape

# A cell of a monospaced font of 14 px, and what is left around the screen.
WIDTH, HEIGHT, SIZE, MARGIN = 8.4, 18, 14, 14

# On a dark ground, as most terminals are: the eight colours, bright where the ordinary would be too dark.
COLOURS = ["#484f58", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#c9d1d9"]
TEXT, GROUND, TITLE = "#c9d1d9", "#0d1117", "#161b22"

SGR = re.compile(r"\x1b\[([\d;]*)m")


@dataclass(frozen=True)
class Look:
    """How the next characters look."""

    colour: str = TEXT
    bold: bool = False
    dim: bool = False
    underlined: bool = False
    reversed: bool = False

    def after(self, codes: str) -> "Look":
        look = self
        # The eight colours as two of the 256, as crossterm says them: 38;5;1 is 31.
        codes = re.sub(r"\b38;5;([0-7])\b", r"3\1", codes)
        for code in (int(code or 0) for code in codes.split(";")):
            match code:
                case 0:
                    look = Look()
                case 1:
                    look = replace(look, bold=True)
                case 2:
                    look = replace(look, dim=True)
                case 4:
                    look = replace(look, underlined=True)
                case 7:
                    look = replace(look, reversed=True)
                case 22:
                    look = replace(look, bold=False, dim=False)
                case 24:
                    look = replace(look, underlined=False)
                case 27:
                    look = replace(look, reversed=False)
                case code if code in range(30, 38):
                    look = replace(look, colour=COLOURS[code - 30])
                case code if code in range(90, 98):
                    look = replace(look, colour=COLOURS[code - 90])
                case 39:
                    look = replace(look, colour=TEXT)
        return look


def svg(screen: str, columns: int, title: str) -> str:
    """The picture of `screen`, which is `columns` wide; `title` is said above it."""
    lines = screen.rstrip().split("\n")
    width = round(columns * WIDTH + 2 * MARGIN)
    top = HEIGHT + 2 * MARGIN
    height = top + len(lines) * HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="{GROUND}"/>',
        f'<path d="M0 8a8 8 0 0 1 8-8h{width - 16}a8 8 0 0 1 8 8v{HEIGHT + MARGIN - 8}H0z" fill="{TITLE}"/>',
        f'<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="{SIZE}" '
        f'fill="{TEXT}" xml:space="preserve">',
        f'<text x="{MARGIN}" y="{HEIGHT + 3}" opacity=".7">$ {escape(title)}</text>',
    ]
    look = Look()
    for number, line in enumerate(lines):
        # Each line begins as the one before ended, as on the terminal.
        cells, look = _cells(line, look)
        parts += _drawn(cells, top + number * HEIGHT)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _cells(line: str, look: Look) -> tuple[list[tuple[int, str, Look]], Look]:
    """Runs of one look: the column each begins in, its text, and the look; and the look at the end."""
    runs, column = [], 0
    for index, piece in enumerate(SGR.split(line)):
        if index % 2:
            look = look.after(piece)
        elif piece:
            runs.append((column, piece, look))
            column += sum(_columns(character) for character in piece)
    return runs, look


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1


def _drawn(runs: list[tuple[int, str, Look]], y: int) -> list[str]:
    drawn = []
    for column, text, look in runs:
        x, length = MARGIN + column * WIDTH, sum(map(_columns, text)) * WIDTH
        colour = look.colour
        if look.reversed:
            drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="{HEIGHT}" fill="{colour}"/>')
            colour = GROUND
        if look.underlined:
            drawn.append(f'<path d="M{x:.1f} {y + HEIGHT - 2.5}h{length:.1f}" stroke="{colour}" opacity=".6"/>')
        if not text.strip():
            continue
        how = f' fill="{colour}"' if colour != TEXT else ""
        how += ' font-weight="bold"' if look.bold else ""
        how += ' opacity=".65"' if look.dim else ""
        # The length is given, so that columns stand below each other whatever font is there.
        drawn.append(
            f'<text x="{x:.1f}" y="{y + SIZE}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs"{how}>'
            f"{escape(text)}</text>"
        )
    return drawn
