from .view import open_run as open_run
from .view import serve_for_editing as serve_for_editing
from .view import view_run as view_run
