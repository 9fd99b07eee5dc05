from .filter import filter_annotations as filter_annotations
from .refine import refine_masks as refine_masks
from .run import AnnotationReport as AnnotationReport
