from .state_columns import COLUMNS as COLUMNS
