from .options import SamOptions as SamOptions
from .segmenter import SamSegmenter as SamSegmenter
