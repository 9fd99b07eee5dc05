from .registry import SEGMENTERS as SEGMENTERS
from .registry import check_segmenter_name as check_segmenter_name
from .registry import describe_segmenter as describe_segmenter
from .registry import load_segmenter as load_segmenter
