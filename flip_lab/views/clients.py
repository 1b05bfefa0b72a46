"""How one metric is spread over the clients, round by round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.views.canvas import (
    axis_label,
    node_names,
    nothing_yet,
    number,
    plain,
    require_columns,
    require_one_run,
    round_step,
)
from flip_lab.views.theme import (
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
    translucent,
)

_COLUMNS = (
    "server_round",
    "phase",
    "node_id",
    "partition_id",
    "num_examples",
    "name",
    "value",
)
_MOST_LINES = 12  # clients above which single lines become a thicket
_TUKEY = 1.5  # quartile distances beyond which a client is called odd


def client_distribution(
    client_metrics: pd.DataFrame,
    name: str,
    *,
    phase: str | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the median, the quartiles and the extremes of a metric over the clients.

    Up to 12 clients are drawn as thin lines; of more, only those beyond 1.5 quartile
    distances from the quartiles (Tukey's fences) stand out, as points. Values that are
    NaN or infinite count for no quantile; the hover text says how many there were.

    Args:
        client_metrics: Rows of the table ``client_metrics`` of one run, with
            ``server_round``, ``phase``, ``node_id``, ``partition_id``, ``num_examples``,
            ``name``, ``value``; ``node`` (the node's name) is optional.
        name: The metric, such as ``eval_accuracy``.
        phase: ``"train"`` or ``"evaluate"``; by default evaluate where it has the metric.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no client has reported the metric yet.

    Raises:
        ViewError: If the frame lacks a column or holds several runs, or there is no such
            theme.
    """
    require_columns(client_metrics, _COLUMNS, view="client_distribution")
    require_one_run(client_metrics, view="client_distribution")
    title = f"{plain(name)} over the clients"
    kept = client_metrics[client_metrics["name"] == name]
    chosen = phase or _usual_phase(kept)
    kept = kept[kept["phase"] == chosen]
    if kept.empty:
        words = f"No client has reported {plain(name)} yet."
        return nothing_yet(title, words, theme=theme)
    kept = kept.assign(
        client=node_names(kept),
        finite=np.isfinite(kept["value"].to_numpy(dtype=np.float64)),
    ).sort_values(["server_round", "partition_id", "node_id"], kind="stable")
    spread = _spread(kept)
    palette = palette_of(theme)
    num_clients = len(kept["client"].unique())
    few = num_clients <= _MOST_LINES
    traces = _bands(spread, palette)
    traces += _client_lines(kept, palette) if few else _odd_ones(kept, spread, palette)
    traces.append(_median(spread, palette))
    if not kept["finite"].all():
        traces.append(_diverged(kept[~kept["finite"]], spread, palette))
    step = round_step(float(kept["server_round"].max()))
    layout = {
        "title": {"text": title, "subtitle": {"text": f"{num_clients} clients, {chosen}"}},
        "height": max(440, 132 + 30 * (num_clients + 3)) if few else 440,
        "hovermode": "closest",
        "xaxis": {"title": {"text": "round"}, "dtick": step, "tick0": 0},
        "yaxis": {"title": {"text": axis_label(name)}},
        "legend": {"x": 1.02, "y": 1},
    }
    return draw(traces, layout, theme=theme)


def _usual_phase(kept: pd.DataFrame) -> str:
    phases = sorted(str(phase) for phase in kept["phase"].unique())
    return phases[0] if phases else "evaluate"  # "evaluate" sorts before "train"


def _spread(kept: pd.DataFrame) -> pd.DataFrame:
    """Give quantiles over the clients, one row per round; NaN where none is finite."""
    rows: list[dict[str, float]] = []
    for server_round, group in kept.groupby("server_round"):
        finite = group[group["finite"]]
        values = finite["value"].to_numpy(dtype=np.float64)
        weights = finite["num_examples"].to_numpy(dtype=np.float64)
        cuts = np.percentile(values, [0, 25, 50, 75, 100]) if values.size else [np.nan] * 5
        low, first, median, third, high = (float(cut) for cut in cuts)
        mean = float(np.average(values, weights=weights)) if weights.sum() > 0 else np.nan
        rows.append(
            {
                "server_round": int(str(server_round)),
                "low": low,
                "first": first,
                "median": median,
                "third": third,
                "high": high,
                "weighted": mean,
                "clients": len(group),
                "diverged": len(group) - len(finite),
            }
        )
    return pd.DataFrame(rows)


def _bands(spread: pd.DataFrame, palette: Palette) -> list[Trace]:
    colour = palette.series[0]
    wide, narrow = palette.bands
    bands = (
        ("lowest to highest", "low", "high", wide),
        ("middle half", "first", "third", narrow),
    )
    traces: list[Trace] = []
    for label, lower, upper, opacity in bands:
        edge: Trace = {
            "type": "scatter",
            "mode": "lines",
            "x": spread["server_round"],
            "line": {"width": 0},
            "hoverinfo": "skip",
            "legendgroup": label,
        }
        fill = {"fill": "tonexty", "fillcolor": translucent(colour, opacity), "name": label}
        traces.append({**edge, "y": spread[lower], "showlegend": False})
        traces.append({**edge, "y": spread[upper], **fill})
    return traces


def _median(spread: pd.DataFrame, palette: Palette) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": spread["server_round"],
        "y": spread["median"],
        "customdata": spread[
            ["first", "third", "low", "high", "weighted", "clients", "diverged"]
        ].to_numpy(dtype=np.float64),
        "line": {"color": palette.series[0], "width": 3},
        "marker": {"size": 6 if len(spread) <= 40 else 3},  # noqa: PLR2004  # then a line
        "name": "median client",
        "legendrank": 1,
        "hovertemplate": (
            "<b>round %{x}</b><br>median %{y:.5g}"
            "<br>middle half %{customdata[0]:.5g} to %{customdata[1]:.5g}"
            "<br>all %{customdata[2]:.5g} to %{customdata[3]:.5g}"
            "<br>mean by examples %{customdata[4]:.5g}"
            "<br>%{customdata[5]:d} clients, %{customdata[6]:d} diverged<extra></extra>"
        ),
    }


def _client_lines(kept: pd.DataFrame, palette: Palette) -> list[Trace]:
    colours = palette.series[1:]
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": group["server_round"],
            "y": group["value"].where(group["finite"]),
            "line": {"color": colours[at % len(colours)], "width": 1.25},
            "marker": {"size": 4},
            "opacity": 0.9,
            "name": client,
            **_hover(group),
        }
        for at, (client, group) in enumerate(kept.groupby("client", sort=False))
    ]


def _odd_ones(kept: pd.DataFrame, spread: pd.DataFrame, palette: Palette) -> list[Trace]:
    fences = kept[["server_round"]].merge(spread, on="server_round", how="left")
    values = kept["value"].to_numpy(dtype=np.float64)
    first, third = (fences[cut].to_numpy(dtype=np.float64) for cut in ("first", "third"))
    reach = _TUKEY * (third - first)
    outside = (values < first - reach) | (values > third + reach)
    odd = kept.take(np.flatnonzero(outside & np.isfinite(values)))
    if odd.empty:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": odd["server_round"],
            "y": odd["value"],
            "marker": {
                "color": palette.failed,
                "size": 7,
                "symbol": "circle-open",
                "line": {"width": 1.5},
            },
            "name": "odd one out",
            **_hover(odd),
        }
    ]


def _diverged(lost: pd.DataFrame, spread: pd.DataFrame, palette: Palette) -> Trace:
    """Mark clients without a finite value, at the height of the median of their round."""
    heights = spread.set_index("server_round")["median"].ffill().bfill().fillna(0.0)
    cross = {"symbol": "x-thin", "size": 9, "line": {"color": palette.failed, "width": 2}}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": lost["server_round"],
        "y": lost["server_round"].map(heights),
        "marker": cross,
        "name": "diverged (NaN or ∞)",
        **_hover(lost),
    }


def _hover(rows: pd.DataFrame) -> dict[str, Any]:
    texts = [
        f"<b>{client}</b><br>round {server_round}: {number(float(value))}"
        f"<br>{float(num_examples):g} examples"
        for client, server_round, value, num_examples in zip(
            rows["client"],
            rows["server_round"],
            rows["value"],
            rows["num_examples"],
            strict=True,
        )
    ]
    return {"text": texts, "hovertemplate": "%{text}<extra></extra>"}
