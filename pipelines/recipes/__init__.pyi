from .base_model import find_base_model as find_base_model
from .base_model import with_processor as with_processor
from .flag_files import FLAG_FILES as FLAG_FILES
from .flag_files import parse_flags as parse_flags
from .recipe import Recipe as Recipe
from .recipe import load_recipe as load_recipe
from .recipe import recipe_names as recipe_names
from .recipe import with_recipe_flags as with_recipe_flags
