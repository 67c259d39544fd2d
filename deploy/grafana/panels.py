"""How the dashboards look: the kinds of panels they use, and what every dashboard has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SOURCE", "graph", "new_dashboard", "number"]

SOURCE: Final = common.DataSourceRef("prometheus", "${datasource}")
"""The Prometheus that is chosen at the top of the dashboard."""


def graph(
    title: str,
    expressions: Mapping[str, str],
    unit: str = "short",
    *,
    says: str,
    limit: float | None = None,
    most: float | None = None,
    stacked: bool = False,
) -> timeseries.Panel:
    """Curves over time; above ``limit``, where an alert begins, they are red."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .line_width(2)
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .height(8)
        .span(8)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .thresholds(_thresholds(limit))
    )
    if limit is not None:
        style = common_builders.GraphThresholdsStyleConfig()
        panel.thresholds_style(style.mode(common.GraphThresholdsStyleMode.DASHED))
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for query in _queries(expressions):
        panel.with_target(query.range())
    return panel


def number(
    title: str,
    expression: str,
    unit: str = "short",
    *,
    says: str,
    limit: float | None = None,
    legend: str = "",
) -> stat.Panel:
    """The present value, large; from ``limit`` on it is red."""
    [query] = _queries({legend: expression})
    return (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(limit))
        .with_target(query.range())
    )


def new_dashboard(uid: str, title: str, says: str, jobs: str) -> dashboard.Dashboard:
    """An empty one with its data source and the instances of these jobs to choose from."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags(["llama-orch"])
        .editable()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("utc")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Instance")
            .datasource(SOURCE)
            .query(f'label_values(up{{job=~"{jobs}"}}, instance)')
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    )


def _queries(expressions: Mapping[str, str]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(expression)
        .legend_format(legend or "__auto")
        .ref_id(chr(ord("A") + place))
        for place, (legend, expression) in enumerate(expressions.items())
    ]


def _thresholds(limit: float | None) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    if limit is not None:
        steps.append(models.Threshold(value=limit, color="red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
