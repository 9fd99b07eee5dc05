from .click_model import ClickModel as ClickModel
from .click_model import built_in_click_model as built_in_click_model
from .click_model import parse_click_model as parse_click_model
from .features import error_pixels as error_pixels
from .sampling import DECILES as DECILES
from .sampling import sample_pixel as sample_pixel
