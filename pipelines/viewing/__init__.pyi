from .view import view_run as view_run
