from .folder import TrainingFolder as TrainingFolder
from .job import given_flags as given_flags
from .job import read_job as read_job
from .mini_base import print_note as print_note
from .star_plus import StarPlusJob as StarPlusJob
from .star_plus import read_star_plus as read_star_plus
