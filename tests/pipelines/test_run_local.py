"""Around kfp's own local runner: what it leaves changed behind it."""

import builtins

from kfp.local.logging_utils import indented_print

from pipelines.run_local import _own_print


def test_print_is_restored_where_steps_overlapped():
    own = builtins.print
    with _own_print():
        first, second = indented_print(), indented_print()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert builtins.print is not own  # kfp's fault that is mended here
    assert builtins.print is own
