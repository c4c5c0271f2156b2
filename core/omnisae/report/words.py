"""Numbers and texts as the report writes them."""

import html
import math

DASH = "–"


def esc(text: object) -> str:
    """Text made safe for HTML, attributes too."""
    return html.escape(str(text), quote=True)


def share(value: float | None, digits: int = 3) -> str:
    """A number between −1 and 1; a dash where it is unknown."""
    if value is None or math.isnan(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    if value is None or math.isnan(value):
        return DASH
    return f"{value:+.3f}".replace("-", "−")


def percent(value: float | None) -> str:
    """A share as a percentage with two significant digits, never 0 where it is not zero."""
    if value is None or math.isnan(value):
        return DASH
    size = 100 * abs(value)
    text = "0" if size == 0 else "<0.001" if size < 0.001 else f"{size:.3g}"
    return ("−" if value < 0 else "") + text + " %"


def whole(value: float | None) -> str:
    """A count, with thin spaces between the thousands."""
    return DASH if value is None or math.isnan(value) else f"{round(value):,}".replace(",", "\u202f")


def short(value: float | None) -> str:
    """A quantity in raw units, three significant digits."""
    if value is None or math.isnan(value):
        return DASH
    return (f"{value:.3g}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.2e}").replace("-", "−")


def plural(n: int, one: str, many: str | None = None) -> str:
    """`1 example`, `2 examples`."""
    return f"{whole(n)} {one if n == 1 else many or one + 's'}"


def chance(value: float | None) -> str:
    """A p- or q-value."""
    if value is None or math.isnan(value):
        return DASH
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def named(latent: int | str) -> str:
    """A latent's name for people: 17; 17+ and 17− where codes are signed (links have an ASCII minus)."""
    return str(latent).replace("-", "−")


def clip(text: str, length: int) -> str:
    """At most `length` characters, with an ellipsis where some are left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
