"""The templates of this package, filled with values."""

from typing import Any

from bss.init.yaml_style import flow_style


def render(template: str, **values: Any) -> str:
    """Return the text of the file `template` in bss/init; a missing value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("bss.init", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["flow"] = flow_style
    return environment.get_template(template).render(**values)
