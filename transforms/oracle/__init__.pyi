from .click import error_regions as error_regions
from .click import oracle_click as oracle_click
