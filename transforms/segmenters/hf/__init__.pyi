from .segmenter import HuggingFaceSegmenter as HuggingFaceSegmenter
