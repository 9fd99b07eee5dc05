from .settings import KEYS as KEYS
from .settings import LADDER as LADDER
from .settings import SET_NAME as SET_NAME
from .settings import UNTIL as UNTIL
