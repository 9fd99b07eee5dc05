from .options import GrpoOptions as GrpoOptions
from .options import RewardOptions as RewardOptions
from .recording import RecordingAnswerer as RecordingAnswerer
from .rollouts import GroupRollouts as GroupRollouts
from .rollouts import Round as Round
from .rollouts import choose_targets as choose_targets
from .trainer import build_trainer as build_trainer
