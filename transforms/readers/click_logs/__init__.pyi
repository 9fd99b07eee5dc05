from .csv_log import parse_csv_log as parse_csv_log
from .placing import Masks as Masks
from .placing import place_clicks as place_clicks
from .rclicks import parse_rclicks_log as parse_rclicks_log
from .records import ClickLog as ClickLog
from .records import RejectedRow as RejectedRow
