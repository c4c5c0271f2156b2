"""Layouts: how a raw tensor is taken apart into token rows, written as a pattern.

A pattern names every dimension of the tensor, separated by spaces:

    "example d y x"                              maps of a convolution
    "example (y x) d"                            patches, flattened row by row
    "example ([cls] + [register] + y x) d"       special tokens in front of the patches
    "example [query] d"                          special tokens alone
    "(branch example) d y x"                     two branches stacked along the batch

`example` is the batch, `d` the width of a token. Names in parentheses share one dimension (the last varies fastest);
`+` concatenates segments along it; a name in brackets is a role: special tokens, which have coordinates only on the
axes of other dimensions. Sizes are declared in `sizes`, and may be left out only where one division determines them (a
role is one token where nothing is declared): nothing is ever guessed from the rank.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from omnisae.errors import LayoutError
from omnisae.tokens.axis import Axis

CONTENT = "content"
_NAME = r"[A-Za-z_][A-Za-z_0-9]*"
_DIMENSION = re.compile(rf"\s*(?:\(([^()]*)\)|(\[{_NAME}\]|{_NAME}))(?=[\s(]|$)")


@dataclass(frozen=True, slots=True)
class Segment:
    """One run of tokens along a dimension: `names` in order for content, or one role of special tokens."""

    names: tuple[str, ...]
    role: str = CONTENT


@dataclass(frozen=True)
class Layout:
    """A reversible map between a raw tensor and token rows. See the module's text for the pattern language.

    Raises LayoutError where the pattern is malformed.
    """

    pattern: str
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dims = self.dims
        names = [name for dim in dims for segment in dim for name in segment.names]
        words = [*names, *self.roles]
        self._check_names(names, words)
        self._check_segments(dims)
        unknown = set(self.sizes) - set(words) | ({CONTENT} & set(self.sizes))
        if unknown:
            raise LayoutError(
                f"layout {self.pattern!r} has no {', '.join(sorted(map(repr, unknown)))}, for which a size is given",
                f"sizes may name: {', '.join([*names, *self.roles[1:]])}",
            )
        wrong = {name: size for name, size in self.sizes.items() if size < 1}
        if wrong:
            raise LayoutError(f"layout {self.pattern!r} is given sizes below 1: {wrong}", "give the number of steps")

    def _check_names(self, names: list[str], words: list[str]) -> None:
        for needed in ("example", "d"):
            if names.count(needed) != 1:
                raise LayoutError(
                    f"layout {self.pattern!r} names {needed!r} {names.count(needed)} times; it must name it once",
                    "write for example 'example (y x) d'",
                )
        repeated = sorted({word for word in words if words.count(word) > 1})
        if repeated:
            raise LayoutError(
                f"layout {self.pattern!r} repeats {', '.join(map(repr, repeated))}",
                "give every axis and every role a name of its own",
            )

    def _check_segments(self, dims: tuple[tuple[Segment, ...], ...]) -> None:
        if sum(any(segment.role != CONTENT for segment in dim) for dim in dims) > 1:
            raise LayoutError(
                f"layout {self.pattern!r} has special tokens along more than one dimension",
                "one dimension may hold special tokens; hook the others apart",
            )
        for dim in dims:
            if sum(segment.role == CONTENT for segment in dim) > 1:
                raise LayoutError(
                    f"layout {self.pattern!r} has two runs of content tokens in one dimension",
                    "put the names of special tokens in brackets: [cls]",
                )
            if len(dim) > 1 and any({"example", "d"} & set(segment.names) for segment in dim):
                raise LayoutError(
                    f"layout {self.pattern!r} concatenates tokens with 'example' or 'd'",
                    "special tokens stand beside content tokens, in a dimension of their own",
                )

    @cached_property
    def dims(self) -> tuple[tuple[Segment, ...], ...]:
        """The dimensions of the raw tensor, each the segments concatenated along it."""
        found, at, text = [], 0, self.pattern.rstrip()
        while at < len(text):
            match = _DIMENSION.match(text, at)
            if match is None:
                raise LayoutError(
                    f"layout {self.pattern!r}: cannot read {text[at:].strip()!r}",
                    "write names, '(a b)', '+' and '[role]' only; see docs/hook-points.md",
                )
            found.append(_segments(match.group(1) if match.group(2) is None else match.group(2), self.pattern))
            at = match.end()
        return tuple(found)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of content tokens, in the order in which the pattern names them."""
        names = [n for dim in self.dims for s in dim for n in s.names if n not in ("example", "d")]
        return tuple(Axis(name, self.sizes.get(name)) for name in names)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """`content` first, then the roles of special tokens: a token's role is an index into this."""
        return (CONTENT, *(s.role for dim in self.dims for s in dim if s.role != CONTENT))

    def fit(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The size of every name and role for a tensor of this shape. Raises LayoutError where it does not fit."""
        if len(shape) != len(self.dims):
            raise self.misfit(shape, f"has {len(shape)} dimensions and the pattern {len(self.dims)}")
        sizes = dict.fromkeys(self.roles[1:], 1) | self.sizes
        for length, dim in zip(shape, self.dims, strict=True):
            self._fit_dim(length, dim, sizes, shape)
        return sizes

    def _fit_dim(self, length: int, dim: tuple[Segment, ...], sizes: dict[str, int], shape: tuple[int, ...]) -> None:
        special = sum(sizes[s.role] for s in dim if s.role != CONTENT)
        content = next((s for s in dim if s.role == CONTENT), None)
        left = length - special
        if content is None:
            if left != 0:
                raise self.misfit(shape, f"has {length} where the special tokens make {special}")
            return
        along = " ".join(content.names)
        if left < 0:
            raise self.misfit(shape, f"has {length} along a dimension of which special tokens alone make {special}")
        known = prod(sizes[name] for name in content.names if name in sizes)
        unknown = [name for name in content.names if name not in sizes]
        if len(unknown) > 1:
            raise self.misfit(shape, f"leaves the sizes of {', '.join(unknown)} open: declare all but one")
        if unknown:
            if left % known:
                raise self.misfit(shape, f"has {left} along {along!r}, no multiple of {known}")
            sizes[unknown[0]] = left // known
        elif left != known:
            raise self.misfit(shape, f"has {left} along {along!r}, and the layout declares {known}")

    def misfit(self, shape: tuple[int, ...], reason: str) -> LayoutError:
        """The error for a tensor that this layout cannot take apart."""
        declared = f" with sizes {self.sizes}" if self.sizes else ""
        return LayoutError(
            f"layout {self.pattern!r}{declared} does not fit a tensor of shape {list(shape)}: it {reason}",
            "declare the layout and its sizes under `hooks:` in the config",
        )


def _segments(text: str, pattern: str) -> tuple[Segment, ...]:
    return tuple(_segment(part.strip(), pattern) for part in text.split("+"))


def _segment(part: str, pattern: str) -> Segment:
    role = re.fullmatch(rf"\[({_NAME})\]", part)
    if role and role.group(1) == CONTENT:
        raise LayoutError(f"layout {pattern!r} calls special tokens {CONTENT!r}", "give the role another name")
    if role:
        return Segment((), role.group(1))
    names = tuple(part.split())
    if not names or not all(re.fullmatch(_NAME, name) for name in names):
        raise LayoutError(f"layout {pattern!r}: cannot read {part!r}", "write names, '(a b)', '+' and '[role]' only")
    return Segment(names)
