from .build import build_tiny_vlm as build_tiny_vlm
from .options import PretrainingOptions as PretrainingOptions
from .options import TinyVlmArchitecture as TinyVlmArchitecture
from .report import PretrainingReport as PretrainingReport
