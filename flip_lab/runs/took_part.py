"""Who took part in a run, as a choice that means something where nodes have no names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from flip_lab.core.cohort import NodeChoice
from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.runs.places import Place
from flip_lab.runs.spec import RunSpec
from flip_lab.store.events import read_events
from flip_lab.store.layout import LabDir


def with_those_who_took_part(lab: LabDir, spec: RunSpec, place: Place) -> Place:
    """Give a place that chooses partitions in place of names and tags, where it must.

    Args:
        lab: The lab that keeps the run.
        spec: A run that goes on, or is repeated, at the place.
        place: The place.
    """
    is_named = bool(spec.nodes) and bool(NodeChoice.parse(spec.nodes).words)
    if place.federation is not None or not is_named:
        return place
    partitions = partitions_in(read_events(lab, spec.run_id))
    return replace(place, nodes=", ".join(map(str, partitions)))


def partitions_in(events: Iterable[RunEvent]) -> list[int]:
    """List the partitions that were in any cohort, in order; unknown ones are left out."""
    found: set[int] = set()
    for event in in_force(list(events)):
        told = event.body.get("partition_ids")
        if event.kind is EventKind.DISPATCHED and isinstance(told, list):
            found |= {each for each in told if isinstance(each, int) and each >= 0}
    return sorted(found)
