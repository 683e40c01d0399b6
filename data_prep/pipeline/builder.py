"""The whole build, from a recipe to a folder of parquet files with their manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from avatar_verl.manifest import file_sha256, write_manifest
from avatar_verl.schema import SCHEMA_VERSION
from data_prep.files import Progress
from data_prep.new_folder import new_folder
from data_prep.pipeline.annotation import BLOCK, Annotation, Block
from data_prep.pipeline.contamination import BenchmarkIndex, read_benchmarks
from data_prep.pipeline.convert import BlockResult, FilePlan, Group, Plan, block_of, convert
from data_prep.pipeline.duplicates import HASHED, REASONS, find_duplicates
from data_prep.pipeline.recipe import HUGGING_FACE, Recipe, SourceRecipe, annotation_files
from data_prep.pipeline.shards import Shard, ShardResult, write_shard
from data_prep.pipeline.tally import FATAL, Tally
from data_prep.sources import SOURCES
from data_prep.workers import usable_cores, worker_pool

SMALL = 4 * BLOCK  # bytes of annotations for which it takes longer to start processes than to do the work


class BuildError(ValueError):
    """The build was stopped because the user has to act; an older output is untouched."""


def build(recipe: Recipe, out: Path, command: str, workers: int, progress: Progress) -> dict[str, Any]:
    """Build ``out``; it appears there only when complete, in the place of an earlier build.

    Args:
        recipe: sources and settings.
        out: folder to make. Anything there that is no earlier build is refused.
        command: for the manifest.
        workers: processes; 1 works in this one; 0 takes one for each core when there is enough to do. The output does
            not depend on it.
        progress: called now and then.

    Returns:
        The manifest, also written to ``manifest.json``.

    Raises:
        BuildError: too many faults in a source, an unknown problem type, or nothing left.
        FolderInUse: ``out`` is something else.
        RecipeError: an annotation that does not exist.
        SourceError: an annotation or benchmark file that cannot be read.
        OSError: e.g. no space left.
    """
    with new_folder(out) as (ready, scratch):
        manifest = {"command": command, **_Build(recipe, scratch, ready, workers, progress).run()}
        write_manifest(ready, manifest)
    return manifest


class _Build:
    def __init__(self, recipe: Recipe, runs: Path, files: Path, workers: int, progress: Progress) -> None:
        self._recipe = recipe
        self._runs, self._files = runs, files
        self._progress = progress
        self._annotations: list[tuple[SourceRecipe, Annotation]] = []
        for source in recipe.sources:
            for place in _places(source):
                self._annotations.append((source, Annotation(place, SOURCES[source.source])))
        self._size = sum(annotation.size for _, annotation in self._annotations)
        self._workers = workers or (usable_cores() if self._size > SMALL else 1)
        self._results: list[BlockResult] = []

    def run(self) -> dict[str, Any]:
        benchmark_files = [file for name in self._recipe.benchmarks for file in annotation_files(name)]
        benchmarks, benchmark_counts = read_benchmarks(benchmark_files)
        with worker_pool(self._workers) as pool:
            self._convert(pool, self._plan(benchmarks))
            tallies = self._tallies()
            self._refuse_faults(tallies)
            left_out = self._leave_out_duplicates(tallies)
            written = self._write(pool, left_out)
        if not written:
            raise BuildError("no row is left; see the reasons:\n" + _reasons(tallies))
        return {
            "schema_version": SCHEMA_VERSION,
            "recipe": self._recipe.model_dump(exclude_defaults=True),
            "seed": self._recipe.seed,
            "inputs": [self._input(source, annotation) for source, annotation in self._annotations],
            "benchmarks": [
                {"file": file.name, "sha256": file_sha256(file), **benchmark_counts[file.name]}
                for file in benchmark_files
            ],
            "sources": {name: tally.as_json() for name, tally in tallies.items()},
            "files": {result.name: {"rows": result.rows, "sha256": result.sha256} for result in written},
            "counts": _add_counts(written),
        }

    def _plan(self, benchmarks: BenchmarkIndex) -> Plan:
        root = Path(self._recipe.media_root) if self._recipe.media_root else None
        plans = []
        for source, annotation in self._annotations:
            place = annotation.place if isinstance(annotation.place, Path) else None
            plans.append(
                FilePlan(
                    source=source.source,
                    reader=source.reader_settings(root, place),
                    rows=self._recipe.row_settings(source),
                    split=source.split,
                    weight=source.weight,
                    sound=source.sound,
                )
            )
        return Plan(self._runs, self._recipe.seed, self._recipe.val, tuple(plans), benchmarks)

    def _blocks(self) -> Iterator[Block]:
        number = 0
        for file, (_, annotation) in enumerate(self._annotations):
            first = 0
            for kind, payload, elements, size in annotation.payloads():
                yield Block(file, number, first, kind, payload, size)
                first += elements
                number += 1

    def _convert(self, pool: Executor, plan: Plan) -> None:
        total, done = self._size, 0
        pending: set[Future[BlockResult]] = set()

        def collect(at_most: int) -> int:
            """Wait until no more than ``at_most`` blocks are under way, so that reading does not run ahead."""
            nonlocal pending
            size = 0
            while len(pending) > at_most:
                ready, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in ready:
                    self._results.append(future.result())
                    size += self._results[-1].size
            return size

        for block in self._blocks():
            done += collect(2 * self._workers - 1)
            pending.add(pool.submit(convert, block, plan))
            self._progress("reading", done, total)
        done += collect(0)
        self._progress("reading", total, total)
        self._results.sort(key=lambda result: result.number)

    def _tallies(self) -> dict[str, Tally]:
        tallies: dict[str, Tally] = {source.data_set: Tally() for source, _ in self._annotations}
        for result in self._results:
            tallies[self._data_set(result.file)].add(result.tally)
        return tallies

    def _data_set(self, file: int) -> str:
        return self._annotations[file][0].data_set

    def _refuse_faults(self, tallies: dict[str, Tally]) -> None:
        for name, tally in tallies.items():
            fatal = FATAL & tally.dropped.keys()
            if fatal:
                examples = "; ".join(detail for reason in sorted(fatal) for detail in tally.examples.get(reason, []))
                counts = ", ".join(f"{tally.dropped[reason]} x {reason}" for reason in sorted(fatal))
                raise BuildError(f"{name}: {counts}: {examples}")
            if tally.fault_share > self._recipe.max_fault_share:
                raise BuildError(
                    f"{name}: {tally.fault_share:.0%} of the questions are faulty, more than max_fault_share "
                    f"({self._recipe.max_fault_share:.0%}):\n" + _reasons({name: tally})
                )

    def _leave_out_duplicates(self, tallies: dict[str, Tally]) -> Path:
        """Note the ordinals of later duplicates; the first row of each keeps its place."""
        numbers = [result.number for result in self._results]
        file_of = np.array([result.file for result in self._results] or [0])
        gone = np.empty(0, dtype=np.int64)
        for name in HASHED:
            found = find_duplicates(self._runs, name, numbers)
            new = found[~np.isin(found, gone)]
            for file, count in Counter(file_of[block_of(new)].tolist()).items():
                tally = tallies[self._data_set(file)]
                tally.drop(REASONS[name], "", count)
                tally.rows -= count
            gone = np.union1d(gone, new)
        path = self._runs / "left_out.npy"
        np.save(path, gone)
        return path

    def _write(self, pool: Executor, left_out: Path) -> list[ShardResult]:
        sizes: Counter[Group] = Counter()
        for result in self._results:
            sizes.update(result.groups)
        shards = []
        for group in sorted(sizes):
            parts = max(1, round(sizes[group] / self._recipe.shard_rows))
            numbers = tuple(result.number for result in self._results if group in result.groups)
            for part in range(parts):
                target = self._files / f"stage{group[0]}-{group[1]}-{part:05d}-of-{parts:05d}.parquet"
                shards.append(Shard(self._runs, numbers, group, part, parts, left_out, target))
        written = []
        for done, shard in enumerate(pool.map(write_shard, shards)):
            self._progress("writing", done + 1, len(shards))
            if shard is not None:
                written.append(shard)
        return written

    @staticmethod
    def _input(source: SourceRecipe, annotation: Annotation) -> dict[str, Any]:
        name = annotation.place.name if isinstance(annotation.place, Path) else f"{HUGGING_FACE}{annotation.place}"
        return {"source": source.data_set, "file": name, "sha256": annotation.checksum}


def _places(source: SourceRecipe) -> list[Path | str]:
    if source.annotation.startswith(HUGGING_FACE):
        return [source.annotation.removeprefix(HUGGING_FACE)]
    return [*annotation_files(source.annotation)]


def _reasons(tallies: dict[str, Tally]) -> str:
    lines = []
    for name, tally in tallies.items():
        for reason, count in sorted(tally.dropped.items()):
            example = next(iter(tally.examples.get(reason, [])), "")
            lines.append(f"  {name}: {count} x {reason}" + (f", e.g. {example}" if example else ""))
    return "\n".join(lines)


def _add_counts(results: list[ShardResult]) -> dict[str, dict[str, dict[str, int]]]:
    """Stage and split -> field -> value -> rows."""
    groups: dict[str, dict[str, Counter[str]]] = {}
    for result in results:
        name = "-".join(result.name.split("-")[:2])
        for field, counts in result.counts.items():
            groups.setdefault(name, {}).setdefault(field, Counter()).update(counts)
    return {
        name: {field: dict(sorted(counts.items())) for field, counts in fields.items()}
        for name, fields in groups.items()
    }
