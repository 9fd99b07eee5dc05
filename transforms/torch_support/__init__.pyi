from .checkpoint_file import load_checkpoint as load_checkpoint
from .checkpoint_file import refusal as refusal
from .device import computes_bfloat16 as computes_bfloat16
from .device import resolve_device as resolve_device
from .torchvision import ensure_importable as ensure_importable
from .transformers import first_line as first_line
from .transformers import list_keys as list_keys
from .transformers import quiet_transformers as quiet_transformers
