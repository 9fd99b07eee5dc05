from .registry import DEFAULT_TASK as DEFAULT_TASK
from .registry import STAR_PLUS as STAR_PLUS
from .registry import TASKS as TASKS
from .registry import TrainingTask as TrainingTask
from .registry import data_set_name as data_set_name
from .registry import training_task as training_task
from .star_plus import Origin as Origin
