"""Votes down a decision tree: fractions of answers, unknown where a question was not asked."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError
from omnisae_galaxies.catalogue import Catalogue
from omnisae_galaxies.plugin import Votes
from omnisae_galaxies.trees import path

Column = Float[np.ndarray, " row"]
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Tally:
    """Fractions by `question_answer`, in the tree's order, and the answers of each question that the catalogue has."""

    fractions: Mapping[str, Column]
    questions: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def columns(votes: Votes) -> dict[str, str]:
    """The catalogue's column of each answer."""
    return {
        f"{name}_{answer}": votes.column.format(question=name, answer=answer)
        for name, question in votes.questions.items()
        for answer in question.answers
    }


def totals(votes: Votes) -> dict[str, str]:
    """The catalogue's column of each question's number of votes; empty where none is named."""
    return {} if votes.total is None else {name: votes.total.format(question=name) for name in votes.questions}


def tally(votes: Votes, table: Catalogue) -> Tally:
    """The fraction of every answer among those who were asked; NaN where the question was not asked.

    It was not asked where fewer than `minimum_votes` voted; where the product of the fractions on its path is below
    `reach`; and where the question before it was not asked. A question of which the catalogue has no column is left out
    and told; one of which it has some columns only is an error.
    """
    where = columns(votes)
    kept, absent = {}, []
    for name, question in votes.questions.items():
        have = [answer for answer in question.answers if where[f"{name}_{answer}"] in table]
        if not have:
            absent.append(name)
        elif len(have) < len(question.answers):
            lost = next(answer for answer in question.answers if answer not in have)
            raise DatasetError(
                f"{table.path} has no column {where[f'{name}_{lost}']!r}, and has others of the question {name!r}",
                "mend votes.tree or votes.column: all answers of a question are needed to tell their fractions",
            )
        else:
            kept[name] = question.answers
    if not kept:
        first = next(iter(where.values()))
        raise DatasetError(
            f"{table.path} has no column of votes such as {first!r}", "mend votes.column, e.g. {question}-dr5_{answer}"
        )
    found: dict[str, Column] = {}
    for name, answers in kept.items():
        found |= dict(zip((f"{name}_{a}" for a in answers), _shares(votes, table, name, answers, where), strict=True))
    found = _reached(votes, found, tuple(kept))
    notes = (f"{table.path.name} has no votes for {', '.join(absent)}",) if absent else ()
    return Tally(found, kept, notes)


def clean(votes: Votes, found: Tally, floor: float) -> dict[str, Column]:
    """Clean samples, by `clean:question_answer`: 1 where at least `floor` gave the answer; 0 where at most 1 − `floor`
    did, of those who were asked or of all voters (a smooth galaxy is no clockwise spiral, though nobody was asked which
    way its arms turn); NaN between, and where nothing is known.

    What all voters gave is the product of fractions on the answer's path, as far as they are known.
    """
    out = {}
    for name, answers in found.questions.items():
        walked = [found.fractions[answer] for answer in path(votes.questions, name) if answer in found.fractions]
        for answer in answers:
            values = found.fractions[f"{name}_{answer}"]
            known = np.stack([*walked, values])
            share = np.where(np.isnan(known).all(axis=0), np.nan, np.nanprod(known, axis=0))
            low = 1 - floor + TOLERANCE
            no = (values <= low) | (share <= low)
            out[f"clean:{name}_{answer}"] = np.where(values >= floor - TOLERANCE, 1.0, np.where(no, 0.0, np.nan))
    return out


def _shares(
    votes: Votes, table: Catalogue, name: str, answers: tuple[str, ...], where: Mapping[str, str]
) -> Float[np.ndarray, "answer row"]:
    values = np.stack([table.numbers(where[f"{name}_{answer}"]) for answer in answers])
    _refuse(votes, table, values, [where[f"{name}_{answer}"] for answer in answers])
    if votes.kind == "counts":
        asked = np.nansum(values, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.nan_to_num(values) / asked
    elif votes.total is not None:
        asked = table.numbers(totals(votes)[name])
    else:
        return values
    return np.where(np.nan_to_num(asked) >= votes.minimum_votes, np.clip(values, 0, 1), np.nan)


def _refuse(votes: Votes, table: Catalogue, values: Float[np.ndarray, "answer row"], names: list[str]) -> None:
    """Counts below zero, and fractions beyond 0 to 1, are not what the config says they are."""
    high = np.inf if votes.kind == "counts" else 1 + TOLERANCE
    wrong = ~np.isnan(values) & ~((values >= -TOLERANCE) & (values <= high))
    if wrong.any():
        answer, row = (int(at[0]) for at in np.nonzero(wrong))
        rule = "counts are not negative" if votes.kind == "counts" else "fractions lie between 0 and 1"
        other = "fractions" if votes.kind == "counts" else "counts"
        raise DatasetError(
            f"{table.path}, row {row + 1}: {names[answer]} is {values[answer, row]:g}; {rule}",
            f"mend the row, or set votes.kind: {other}",
        )


def _reached(votes: Votes, found: dict[str, Column], names: tuple[str, ...]) -> dict[str, Column]:
    """Unknown, too, where the path was not walked by enough, or a question on it was not asked."""
    out = dict(found)
    for name in names:
        along = path(votes.questions, name)
        share = np.ones(len(next(iter(found.values()))))
        for answer in along:
            if answer in found:
                share = share * found[answer]
        asked = ~np.isnan(share)
        if votes.reach is not None:
            asked &= np.nan_to_num(share) >= votes.reach
        for answer in votes.questions[name].answers:
            out[f"{name}_{answer}"] = np.where(asked, found[f"{name}_{answer}"], np.nan)
    return out
