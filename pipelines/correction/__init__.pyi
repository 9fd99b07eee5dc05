from .edit import edit_run as edit_run
from .merge import merge_runs as merge_runs
from .noise import format_noise as format_noise
from .noise import report_noise as report_noise
from .sample import sample_run as sample_run
from .sample import split_run as split_run
