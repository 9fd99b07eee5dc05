from .options import LlamaFactoryOptions as LlamaFactoryOptions
from .paired_runs import run_differences as run_differences
from .paired_runs import with_other_runs as with_other_runs
from .sample_options import SampleOptions as SampleOptions
from .samples import cases_of as cases_of
from .writer import export_task as export_task
