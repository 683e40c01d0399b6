"""The same checks on every node of a Ray cluster, and what only shows between nodes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from avatar_verl.adapter.placement import missing, ray_nodes
from avatar_verl.doctor.findings import Finding, judged
from avatar_verl.doctor.packages import installed_version
from avatar_verl.doctor.subject import Subject, examine

_NODE_TIMEOUT_S = 300.0
_COMPARED = ("torch", "ray", "verl", "vllm", "transformers", "tensordict")


def examine_cluster(subject: Subject, address: str) -> list[Finding]:
    """Join the cluster, look at each living node, and leave it again."""
    package = str(Path(__file__).resolve().parents[1])  # avatar_verl itself: nodes may lack it
    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"
    try:
        ray.init(address=address, runtime_env={"py_modules": [package]}, log_to_driver=False)
    except Exception as error:  # ConnectionError, ValueError, RuntimeError and others, by what is wrong
        todo = "set RAY_ADDRESS to HEAD:6379 of a running cluster, and RAY_AUTH_TOKEN_PATH where it wants a token"
        return [Finding("Ray", "fail", f"{address}: {error}".splitlines()[0], todo)]
    try:
        return [*_resources(subject), *_access(), *_nodes(subject)]
    finally:
        ray.shutdown()


def _resources(subject: Subject) -> Iterator[Finding]:
    problem, _, todo = missing(subject.needs, ray_nodes()).partition(". To do: ")
    yield judged("Ray resources", not problem, problem or "enough for the run", todo)


def _access() -> Iterator[Finding]:
    guarded_by_token = os.environ.get("RAY_AUTH_MODE") == "token"
    detail = "token asked for" if guarded_by_token else "anyone who reaches the cluster's ports can run code on it"
    todo = "start every node with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (ray get-auth-token --generate)"
    yield judged("Ray access", guarded_by_token, detail, todo, "warn")


def _look(subject: Subject, canary: str, word: str) -> dict[str, Any]:
    """Runs on a node."""
    path = Path(canary)
    return {
        "findings": examine(subject),
        "versions": {name: installed_version(name) for name in _COMPARED},
        "sees": path.is_file() and path.read_text() == word,
    }


def _nodes(subject: Subject) -> Iterator[Finding]:
    outputs = Path(subject.outputs)
    outputs.mkdir(parents=True, exist_ok=True)
    word = uuid.uuid4().hex
    canary = outputs / f".doctor-{word}"
    canary.write_text(word)
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    try:
        reports = {
            f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})": look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(subject, str(canary), word)
            for node in nodes
        }
        seen = {name: _result(report) for name, report in reports.items()}
    finally:
        canary.unlink(missing_ok=True)
    yield from _per_node(seen, outputs)
    yield from _same_versions({name: result["versions"] for name, result in seen.items() if isinstance(result, dict)})


def _result(report: Any) -> dict[str, Any] | str:
    try:
        return dict(ray.get(report, timeout=_NODE_TIMEOUT_S))
    except Exception as error:  # a node without our dependencies, without memory, without an answer
        return str(error).strip().splitlines()[-1]


def _per_node(seen: dict[str, dict[str, Any] | str], outputs: Path) -> Iterator[Finding]:
    for name, result in seen.items():
        if isinstance(result, str):
            yield Finding("node", "fail", result, "run python -m avatar_verl.doctor on this node", name)
            continue
        yield from (finding.at(name) for finding in result["findings"])
        detail = f"{outputs} is shared" if result["sees"] else f"a file written to {outputs} is not seen here"
        todo = "put run.outputs on a file system that all nodes share"
        yield judged("shared outputs", bool(result["sees"]), detail, todo).at(name)


def _same_versions(versions: dict[str, dict[str, str]]) -> Iterator[Finding]:
    for package in _COMPARED:
        found: dict[str, list[str]] = {}
        for node, installed in versions.items():
            found.setdefault(installed[package], []).append(node)
        if len(found) > 1:
            detail = "; ".join(f"{version or 'missing'} on {', '.join(nodes)}" for version, nodes in found.items())
            yield Finding(f"{package} on all nodes", "fail", detail, "install the same lock on every node")
