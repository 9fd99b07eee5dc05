from .citations import segmenter_citations as segmenter_citations
from .registry import SEGMENTERS as SEGMENTERS
from .registry import SERVED_UNIT_SIZE as SERVED_UNIT_SIZE
from .registry import check_segmenter_name as check_segmenter_name
from .registry import load_segmenter as load_segmenter
from .registry import segmenter_identity as segmenter_identity
