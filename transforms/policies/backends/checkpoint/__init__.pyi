from .files import CheckpointFiles as CheckpointFiles
from .files import find_checkpoint as find_checkpoint
from .generate import CheckpointAnswerer as CheckpointAnswerer
from .generate import load_checkpoint_answerer as load_checkpoint_answerer
from .loading import LoadedCheckpoint as LoadedCheckpoint
from .loading import load_checkpoint as load_checkpoint
from .processor import load_processor as load_processor
from .processor import resized_by as resized_by
