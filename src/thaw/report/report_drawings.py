"""All charts of a report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from altair.utils.schemapi import debug_mode

from thaw.report.calibration_charts import reliability
from thaw.report.class_charts import per_class
from thaw.report.confusion_charts import confusion
from thaw.report.content import FeatureMap, ReportContent
from thaw.report.curve_charts import learning_curves
from thaw.report.drawing import Drawing, thinned
from thaw.report.feature_charts import feature_drawing
from thaw.report.plan_charts import freeze_plan
from thaw.report.ranking_charts import precision_recall, roc
from thaw.report.time_charts import time_by_step

MAX_POINTS = 2000  # of a map of features, as elements of a page that a phone can still move


@dataclass(frozen=True)
class ReportDrawings:
    """The charts of a report by key, those that it has, and the maps of features in their order."""

    by_key: Mapping[str, Drawing]
    feature_maps: list[Drawing]

    def for_slides(self) -> list[Drawing]:
        """Return the charts that are also kept as PNG."""
        return [drawing for key, drawing in self.by_key.items() if key != "time"] + self.feature_maps


def report_drawings(content: ReportContent) -> ReportDrawings:
    """Make the charts of the first split and of the training."""
    with debug_mode(False):  # each part of a chart would be validated, each row of data too; the tests do
        return _report_drawings(content)


def _report_drawings(content: ReportContent) -> ReportDrawings:
    split = content.splits[0]
    drawings = [
        learning_curves(content.history, content.best_epochs),
        freeze_plan(content.plans),
        time_by_step(content.seconds),
        confusion(split),
        per_class(split),
        roc(split),
        precision_recall(split),
        reliability(split),
    ]
    maps = [feature_drawing(feature_map) for feature_map in content.feature_maps]
    return ReportDrawings({drawing.key: drawing for drawing in drawings if drawing}, [m for m in maps if m])


def with_fewer_points(content: ReportContent) -> ReportContent:
    """Return the content with at most `MAX_POINTS` points in each map, evenly from all of them."""
    maps = [_thin(feature_map) for feature_map in content.feature_maps]
    return replace(content, feature_maps=maps)


def _thin(feature_map: FeatureMap) -> FeatureMap:
    total = len(feature_map.points)
    if total <= MAX_POINTS:
        return feature_map
    points = [feature_map.points[i] for i in thinned(total, MAX_POINTS)]
    explained = f"{feature_map.explained} Shown are {MAX_POINTS:,} of {total:,} images, evenly."
    return replace(feature_map, points=points, explained=explained)
