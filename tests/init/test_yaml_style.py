from hypothesis import given
from hypothesis import strategies as st

from bss.config.load import parse_yaml
from bss.init.yaml_style import flow_style

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_yaml_reads_the_same_value_again(value):
    assert parse_yaml(f"a: {flow_style(value)}\n", "x")["a"] == value
