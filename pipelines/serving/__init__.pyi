from .serve import serve_segmenter as serve_segmenter
