"""A data engine for human-like mask annotation: `from hlmat import ...` gives its public names.

Nothing is imported until a name is used; `__init__.pyi` lists the names and where they are defined.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
