from .layout import FiftyOneLayout as FiftyOneLayout
from .schema import metadata_json as metadata_json
from .unit_export import SamplesSettings as SamplesSettings
from .unit_export import UnitDocuments as UnitDocuments
