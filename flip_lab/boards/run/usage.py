"""What a run's processes use, as small courses over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from flip_lab.boards.run.series import Series
from flip_lab.boards.run.snapshot import bytes_text
from flip_lab.core.events import EventKind, Json, RunEvent

_MIB = 2**20
_SHOWN = {
    "cpu_percent": ("processor", "% of one core"),
    "rss_mib": ("memory", "MiB"),
    "disk_free_mib": ("disk free", "MiB"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The run's ``RESOURCE`` events so far, thinned as metrics are.

    Attributes:
        began_s: Time of the first one, seconds since the Unix epoch.
        series: By name; places are seconds since the first one, not rounds.
        num_processes: At the last look.
    """

    began_s: float | None = None
    series: Mapping[str, Series] = field(default_factory=dict[str, Series])
    num_processes: int = 0

    def apply(self, events: Iterable[RunEvent]) -> Usage:
        """Add events; the caller gives each once and in order."""
        usage = self
        for event in events:
            if event.kind is EventKind.RESOURCE:
                usage = usage.add(event)
        return usage

    def add(self, event: RunEvent) -> Usage:
        """Add one sample."""
        began_s = event.time_s if self.began_s is None else self.began_s
        series = dict(self.series)
        for name in _SHOWN:
            value = event.body.get(name)
            if isinstance(value, int | float):
                known = series.get(name) or Series(name=name, phase="", scope="")
                series[name] = known.add(round(event.time_s - began_s), float(value))
        number = event.body.get("num_processes", self.num_processes)
        num_processes = int(number) if isinstance(number, int | float) else 0
        return replace(self, began_s=began_s, series=series, num_processes=num_processes)

    def part(self) -> dict[str, Json]:
        """Give what the widget draws; JSON-ready."""
        curves: list[Json] = []
        for name, (label, unit) in _SHOWN.items():
            if name in self.series:
                tile = self.series[name].tile()
                points: list[Json] = [[*pair] for pair in tile["points"]]
                now = self.series[name].last[1]
                value = bytes_text(now * _MIB) if unit == "MiB" else f"{now:.0f} %"
                curves.append(
                    {"label": label, "unit": unit, "value": value, "points": points}
                )
        return {"curves": curves, "num_processes": self.num_processes}
