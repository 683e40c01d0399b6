"""Check files row by row, and split them into what can be trained on and what cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from avatar_verl.manifest import mark_validated, read_manifest, write_manifest
from avatar_verl.media import FrameBudget
from data_prep.files import FileError, Progress, count_rows, iter_rows, media_of, parquet_files
from data_prep.new_folder import new_folder
from data_prep.validation.checks import CheckSettings, Verdict, check_row
from data_prep.validation.findings import Findings, as_page
from data_prep.validation.probing import Probe, ProbeSettings, probe_all
from data_prep.validation.tokens import TextCounter

REPORT = "validation"  # folder of the report, beside the files
QUARANTINE = "quarantine"  # folder of the rows that did not pass, in the output

Probes = Mapping[str, Mapping[str, Probe]]  # media root -> path -> probe


@dataclass(frozen=True, slots=True)
class DoctorSettings:
    """What is asked."""

    media_root: str  # empty: each file's own folder, as the trainer does it
    budget: FrameBudget
    count: TextCounter  # of tokens
    max_prompt_tokens: int = 0  # 0: any length
    max_bad_share: float = 0.1  # more bad rows than this: nothing is marked as validated
    decode: bool = False  # decode what a run would decode, not only the headers
    workers: int = 0  # processes; 0 works in this one
    seconds: float = 60.0  # after which a clip counts as hanging
    journal: Path | None = None  # of probes; default: beside the first file's folder


def validate(places: Sequence[Path], out: Path | None, settings: DoctorSettings, progress: Progress) -> dict[str, Any]:
    """Check all rows of all files.

    Without ``out`` nothing but the report is written, and the files are marked as validated when no row is bad. With
    ``out`` clean rows go there, with the true length of their clips and with sound switched off where there is none;
    bad ones go to ``out/quarantine`` with reason and detail; and the clean files are marked when no more than
    ``max_bad_share`` of all rows are bad.

    Returns:
        The report, also written to ``validation/report.json`` and ``report.html``; ``passed`` says whether the files
        are marked.

    Raises:
        FileError: no parquet of the schema, two files of one name, or the output is the input.
        FolderInUse: ``out`` holds something else.
        OSError: e.g. no space left; an earlier ``out`` stays whole.
    """
    files = parquet_files(places)
    if out is None:
        report = _examine(files, None, settings, progress)
        _write_report(files[0].parent, report)
        if report["passed"]:
            _mark([(file, file) for file in files], report)
        return report
    if len({file.name for file in files}) < len(files):
        raise FileError("two files have the same name; validate them one after the other")
    if any(file.parent.resolve() == out.resolve() for file in files):
        raise FileError("the output must be another folder than the input")
    with new_folder(out) as (ready, _):
        report = _examine(files, ready, settings, progress)
        write_manifest(ready, {"built": {file.parent.name: read_manifest(file.parent) for file in files}})
        _write_report(ready, report)
        if report["passed"]:
            _mark([(file, ready / file.name) for file in files], report)
    return report


def _examine(files: list[Path], out: Path | None, settings: DoctorSettings, progress: Progress) -> dict[str, Any]:
    probes = _probe(files, settings, progress)
    findings = Findings()
    for found in probes.values():
        findings.add_media(found)
    checks = CheckSettings(settings.budget, settings.max_prompt_tokens, settings.count)
    total, done = count_rows(files), 0
    seen: set[int] = set()
    for file in files:
        with _Split(file, out) as split:
            for rows in iter_rows(file):
                verdicts = [_judge(row, probes[_root(file, settings)], checks, seen) for row in rows]
                for row, verdict in zip(rows, verdicts, strict=True):
                    findings.add(file.name, str((row["extra_info"] or {}).get("prompt_id")), verdict)
                split.write(rows, verdicts)
                done += len(rows)
                progress("checking rows", done, total)
    limit = settings.max_bad_share if out else 0.0
    return {
        "passed": findings.rows > findings.bad and findings.bad <= limit * findings.rows,
        **findings.as_json(),
        "settings": {
            **asdict(settings.budget),
            "max_prompt_tokens": settings.max_prompt_tokens,
            "max_bad_share": limit,
            "decoded": settings.decode,
            "text_tokens": "exact" if settings.count.exact else "estimated",
        },
    }


def _root(file: Path, settings: DoctorSettings) -> str:
    return settings.media_root or str(file.parent)


def _probe(files: list[Path], settings: DoctorSettings, progress: Progress) -> dict[str, dict[str, Probe]]:
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(_root(file, settings), []).append(file)
    media = {root: list(media_of(group)) for root, group in groups.items()}
    total, done = sum(map(len, media.values())), 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress("probing clips", done, total)

    found = {}
    for root, paths in media.items():
        beside = groups[root][0].parent
        journal = settings.journal or beside.with_name(f"{beside.name}.probes.jsonl")
        look = ProbeSettings(root, settings.budget, settings.decode, settings.seconds)
        found[root] = probe_all(paths, look, journal, settings.workers, advance)
    return found


def _judge(row: dict[str, Any], probes: Mapping[str, Probe], settings: CheckSettings, seen: set[int]) -> Verdict:
    verdict = check_row(row, probes, settings)
    if not verdict.reason:
        info = row["extra_info"]
        key = hash((info["stage"], info["prompt_id"]))
        if key in seen:
            verdict.reason, verdict.detail = "duplicate_id", f"{info['prompt_id']} in stage {info['stage']}"
        seen.add(key)
    return verdict


class _Split:
    """Writers of the clean and the quarantined rows of one file; the second one only if there are any."""

    def __init__(self, file: Path, out: Path | None) -> None:
        self._schema = pq.read_schema(file)
        self._clean = out / file.name if out else None
        self._bad = out / QUARANTINE / file.name if out else None
        self._writers: dict[Path, pq.ParquetWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> _Split:
        if self._clean:
            self._write(self._clean, [], self._schema)  # a file without any clean row is still a file
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, rows: list[dict[str, Any]], verdicts: list[Verdict]) -> None:
        if self._clean is None or self._bad is None:
            return
        pairs = list(zip(rows, verdicts, strict=True))
        self._write(self._clean, [_with_facts(row, v) for row, v in pairs if not v.reason], self._schema)
        bad = [{**row, "reason": v.reason, "detail": v.detail} for row, v in pairs if v.reason]
        if bad:
            fields = [pa.field(name, pa.string()) for name in ("reason", "detail")]
            self._write(self._bad, bad, pa.schema([*self._schema, *fields], metadata=self._schema.metadata))

    def _write(self, path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
        if path not in self._writers:
            path.parent.mkdir(exist_ok=True)
            self._writers[path] = self._stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
        if rows:
            self._writers[path].write_table(pa.Table.from_pylist(rows, schema=schema))


def _with_facts(row: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    info = {**row["extra_info"], "duration": verdict.duration, "use_audio_in_video": verdict.sound}
    return {**row, "extra_info": info}


def _mark(pairs: Sequence[tuple[Path, Path]], report: Mapping[str, Any]) -> None:
    for source, target in pairs:
        counts = report["files"].get(source.name, {"rows": 0, "clean": 0, "quarantined": 0})
        mark_validated(target, {**counts, "settings": report["settings"]})


def _write_report(folder: Path, report: Mapping[str, Any]) -> None:
    for name, text in (("report.json", _json_text(report)), ("report.html", as_page(report))):
        target = folder / REPORT / name
        target.parent.mkdir(exist_ok=True)
        draft = target.with_name(f"{name}.partial")
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)


def _json_text(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def iter_reasons(report: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """(reason, rows, first example) of a report, most frequent first."""
    for reason, rows in report["reasons"].items():
        yield reason, rows, f"{report['examples'][reason][0]['prompt_id']}: {report['examples'][reason][0]['detail']}"
