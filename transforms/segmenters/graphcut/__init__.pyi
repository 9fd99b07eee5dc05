from .segmenter import GraphCutSegmenter as GraphCutSegmenter
