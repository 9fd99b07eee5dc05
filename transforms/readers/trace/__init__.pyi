from .json_diff import apply_difference as apply_difference
from .reader import open_trace as open_trace
from .records import PRIVATE_KEY as PRIVATE_KEY
from .records import trajectory_to_plain_record as trajectory_to_plain_record
