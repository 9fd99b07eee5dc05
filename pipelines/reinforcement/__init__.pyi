from .environment import installed_trl as installed_trl
from .environment import rl_python as rl_python
from .rl import reinforce as reinforce
