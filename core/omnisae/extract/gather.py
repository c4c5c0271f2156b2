"""Gathering: every example through the model once, its tokens written for every hook point."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from omnisae.errors import DatasetError, HookError, StoreError, did_you_mean
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extraction, Extractor
from omnisae.extract.loading import Loaded, Skipped, batches, load
from omnisae.hooks.point import HookPoint
from omnisae.store.spool import spool
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter, TokenFilters

if TYPE_CHECKING:
    from omnisae.store.writer import StoreWriter

__all__ = ["Gathered", "Skipped", "batches", "check_roles", "gather", "needed_roles"]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one extraction did: examples read and tokens written in it (all hook points together), and the unreadable
    examples with the reason, by id. `start` is the first row: more than 0 where a half-written store went on."""

    examples: int
    tokens: int
    skipped: Mapping[str, str]
    start: int = 0


def needed_roles(filters: TokenFilters) -> tuple[str, ...]:
    """The roles that training, selecting or evaluating keeps: what has to be stored. Shares are the stages' own."""
    stages = (filters.train, filters.select, filters.evaluate)
    return tuple(sorted({role for stage in stages for role in stage.roles}))


def gather(
    dataset: Dataset,
    extractor: Extractor,
    hooks: Sequence[HookPoint],
    writers: "Mapping[str, StoreWriter]",
    *,
    roles: Sequence[str] = ("content",),
    workers: int | None = None,
    observe: Callable[[dict[str, Any]], None] | None = None,
) -> Gathered:
    """Write the tokens of these roles of all examples at every hook point, in one pass, and finish the stores.

    Goes on at the first row that any writer (by hook point's name) still lacks. `observe` is told the rows done after
    every batch. Unreadable examples are skipped and reported.

    Raises HookError where a hook point has none of the roles, StoreError where activations are NaN or infinite (naming
    the example), DatasetError where no example at all can be read.
    """
    check_roles(hooks, roles)
    try:
        return _gather(dataset, extractor, hooks, writers, TokenFilter(roles=tuple(roles)), workers, observe)
    finally:
        # Finished shards stay: the next extraction goes on from them.
        for writer in writers.values():
            writer.close()


def _gather(
    dataset: Dataset,
    extractor: Extractor,
    hooks: Sequence[HookPoint],
    writers: "Mapping[str, StoreWriter]",
    keep: TokenFilter,
    workers: int | None,
    observe: Callable[[dict[str, Any]], None] | None,
) -> Gathered:
    done, total, size = min(writers[hook.name].next_row for hook in hooks), len(dataset), extractor.batch_size()
    # The very batches of an uninterrupted run: kernels round differently in batches of another size.
    start = done if done >= total else done - done % size
    examples, tokens, skipped = 0, 0, {}
    for loaded in load(dataset, extractor, range(start, total), workers):
        for one in loaded.skipped:
            skipped[one.id] = one.reason
            for hook in hooks:
                if one.row >= writers[hook.name].next_row:
                    writers[hook.name].skip(one.row, one.id, one.reason)
        if loaded.rows:
            tokens += _write(loaded, extractor, hooks, writers, keep, dataset)
        examples += len(loaded.rows)
        if observe is not None:
            observe({"event": "step", "stage": "extract", "examples": loaded.asked[-1] + 1, "of": total})
    if skipped and len(skipped) == total:
        one_id, reason = next(iter(skipped.items()))
        raise DatasetError(
            f"none of the {total} examples could be read; the first, {one_id!r}: {reason}", "mend the dataset's files"
        )
    for hook in hooks:
        writers[hook.name].finish()
    return Gathered(examples, tokens, skipped, done)


def _write(
    loaded: Loaded,
    extractor: Extractor,
    hooks: Sequence[HookPoint],
    writers: "Mapping[str, StoreWriter]",
    keep: TokenFilter,
    dataset: Dataset,
) -> int:
    """One batch through the model, into the writers that still lack it."""
    through, written = loaded.asked[-1] + 1, 0
    wanting = [hook for hook in hooks if writers[hook.name].next_row < through]

    def kept(extraction: Extraction, hook: HookPoint) -> TokenBatch:
        batch = extraction.tokens[hook.name]
        mask = keep.keep(batch.example, batch.coords, batch.role, hook.roles)
        return batch.take(mask & (batch.example >= writers[hook.name].next_row))

    def write(batch: TokenBatch, hook: HookPoint, through: int) -> None:
        nonlocal written
        try:
            writers[hook.name].append(batch, through)
        except StoreError as error:
            raise _named(error, batch, hook, dataset) from error
        written += len(batch)

    if not extractor.in_parts:
        extraction = extractor.extract(loaded.rows, loaded.inputs, wanting)
        for hook in wanting:
            write(kept(extraction, hook), hook, through)
        return written
    with ExitStack() as stack:
        spools = {hook.name: stack.enter_context(spool(writers[hook.name].path)) for hook in wanting}

        def keep_part(extraction: Extraction) -> None:
            for hook in wanting:
                if hook.name in extraction.tokens:
                    spools[hook.name].add(kept(extraction, hook))

        extractor.extract_parts(loaded.rows, loaded.inputs, wanting, keep_part)
        for hook in wanting:
            for batch in spools[hook.name].by_example():
                write(batch, hook, int(batch.example[-1]))  # of the last example more may follow
            writers[hook.name].append(_nothing(hook), through)
    return written


def _nothing(hook: HookPoint) -> TokenBatch:
    """A batch of no tokens, with which a writer is told how far the examples are done."""
    none = torch.zeros(0, dtype=torch.int64)
    return TokenBatch(
        torch.zeros(0, hook.width), none, torch.zeros(0, len(hook.axes), dtype=torch.int32), none.to(torch.uint8)
    )


def _named(error: StoreError, batch: TokenBatch, hook: HookPoint, dataset: Dataset) -> StoreError:
    """The error with the ids of the examples at fault, where activations are not finite."""
    bad = sorted(set(batch.example[~torch.isfinite(batch.values.float()).all(dim=1)].tolist()))
    if not bad:
        return error
    names = ", ".join(repr(dataset.ids[row]) for row in bad[:5]) + (" …" if len(bad) > 5 else "")
    return StoreError(
        f"hook point {hook.name!r}: NaN or infinite activations in {len(bad)} example(s): {names} (rows "
        f"{', '.join(map(str, bad[:5]))})",
        "look at these examples and at the model's precision; leave them out, or run the model in float32",
    )


def check_roles(hooks: Sequence[HookPoint], roles: Sequence[str]) -> None:
    known = sorted({role for hook in hooks for role in hook.roles})
    for role in roles:
        if role not in known:
            raise HookError(f"no hook point has tokens of role {role!r}", did_you_mean(role, known))
    for hook in hooks:
        if not set(hook.roles) & set(roles):
            raise HookError(
                f"hook point {hook.name!r} has tokens of {', '.join(hook.roles)}, and none of the kept {list(roles)}",
                "name one of its roles under `tokens:`",
            )
