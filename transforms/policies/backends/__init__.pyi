from .openai_server import connect as connect
from .options import AnswererOptions as AnswererOptions
from .options import CheckpointOptions as CheckpointOptions
from .options import ReplayOptions as ReplayOptions
from .options import SamplingOptions as SamplingOptions
from .options import ServerOptions as ServerOptions
from .replay import load_replay as load_replay
