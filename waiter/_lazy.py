"""Names of a package that are loaded when they are first asked for (PEP 562)."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def loads_lazily(package: str, names: Sequence[str], homes: Sequence[str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package whose ``names`` are in the modules ``homes``, searched in this order."""

    def load(name: str) -> object:
        if name not in names:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        if name in homes:
            return import_module(f"{package}.{name}")
        modules = (import_module(f"{package}.{home}") for home in homes)
        return next(vars(module)[name] for module in modules if name in vars(module))

    return load
