from .evaluate import PREDICTIONS as PREDICTIONS
from .evaluate import evaluated_images as evaluated_images
from .rejects import closing_remarks as closing_remarks
from .results import INTERVALS as INTERVALS
