from .coco import CocoReader as CocoReader
from .folder import IMAGES as IMAGES
from .options import ReaderOptions as ReaderOptions
from .registry import DATASETS as DATASETS
from .registry import check_dataset_name as check_dataset_name
from .registry import check_split as check_split
from .registry import missing_root as missing_root
from .registry import open_reader as open_reader
