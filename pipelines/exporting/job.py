"""An export for LLaMA-Factory as a job of units."""

from __future__ import annotations

from dataclasses import dataclass

from hlmat.export.llama_factory.layout import ExportLayout
from hlmat.export.llama_factory.unit_export import ExportSettings
from hlmat.pipelines.exporting.folder import ExportFolder
from hlmat.pipelines.exporting.planning import ExportPlan
from hlmat.pipelines.settings.runner_choice import RunnerChoice


@dataclass(frozen=True)
class ExportJob:
    """Everything needed to export.

    Attributes:
        settings: a worker's recipe.
        plan: the units.
        runner: where they are done.
        folder: of the data set.
    """

    settings: ExportSettings
    plan: ExportPlan
    runner: RunnerChoice
    folder: ExportFolder

    @property
    def layout(self) -> ExportLayout:
        """The paths of the export's files."""
        return self.folder.layout
