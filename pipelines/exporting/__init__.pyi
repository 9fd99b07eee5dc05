from .coco_results import INSTANCES as INSTANCES
from .coco_results import RESULTS as RESULTS
from .export import export_run as export_run
from .fiftyone import FIFTYONE as FIFTYONE
from .tables import digest_of as digest_of
