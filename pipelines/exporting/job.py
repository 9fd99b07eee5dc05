"""An export as a job of units, of any format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from hlmat.export.fiftyone.unit_export import SamplesSettings
from hlmat.export.image_tables.unit_tables import TableSettings
from hlmat.export.llama_factory.layout import WorkingLayout
from hlmat.export.llama_factory.unit_export import ExportSettings
from hlmat.pipelines.exporting.folder import (
    ExportFolder,
    FiftyOneFolder,
    LlamaFactoryFolder,
    TableFolder,
)
from hlmat.pipelines.exporting.planning import ExportPlan, TablePlan
from hlmat.pipelines.settings.runner_choice import RunnerChoice

SettingsT = TypeVar("SettingsT", bound="ExportSettings | TableSettings | SamplesSettings")
PlanT = TypeVar("PlanT", bound="ExportPlan | TablePlan")
FolderT = TypeVar("FolderT", bound=ExportFolder)


@dataclass(frozen=True)
class ExportJob(Generic[SettingsT, PlanT, FolderT]):
    """Everything needed to export.

    Attributes:
        settings: a worker's recipe.
        plan: the units.
        runner: where they are done.
        folder: of the data set.
    """

    settings: SettingsT
    plan: PlanT
    runner: RunnerChoice
    folder: FolderT

    @property
    def layout(self) -> WorkingLayout:
        """The paths of the export's files."""
        return self.folder.layout


LlamaFactoryJob = ExportJob[ExportSettings, ExportPlan, LlamaFactoryFolder]
TableJob = ExportJob[TableSettings, TablePlan, TableFolder]
FiftyOneJob = ExportJob[SamplesSettings, ExportPlan, FiftyOneFolder]
AnyJob = LlamaFactoryJob | TableJob | FiftyOneJob
