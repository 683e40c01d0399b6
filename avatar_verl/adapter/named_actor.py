"""A Ray actor by its name alone."""

from __future__ import annotations

import functools
from typing import Any


class NamedActor:
    """Used like the actor's handle, but pickled as its name.

    Ray imports an actor's class wherever a handle of it is unpickled, and the class of a rollout server imports vLLM:
    ten seconds and half a gigabyte in a process that only passes handles on, as verl's load balancer does.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[type[NamedActor], tuple[str]]:
        return NamedActor, (self._name,)

    def __getattr__(self, method: str) -> Any:
        return getattr(_handle(self._name), method)


@functools.cache
def _handle(name: str) -> Any:
    import ray

    return ray.get_actor(name)
