"""Pages of HTML that need nothing else: one look for all, text from data shown as text.

Importing this package needs jinja2 (``pip install 'couplings[report]'``), which fills the templates and escapes what
is put into them.
"""

from __future__ import annotations

import base64
import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["data_uri", "render"]


@functools.cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("couplings.report.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> bytes:
    """Fill a template of this folder.

    Args:
        template: its name without ``.html``.
        values: what it shows; every string is escaped.

    Returns:
        The page, UTF-8.
    """
    return _templates().get_template(f"{template}.html").render(**values).encode(errors="replace")


def data_uri(data: bytes, kind: str) -> str:
    """A picture as an address that holds it.

    >>> data_uri(b"hi", "image/png")
    'data:image/png;base64,aGk='
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
