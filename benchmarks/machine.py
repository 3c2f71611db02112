"""What a benchmark ran on."""

import os
import platform
from pathlib import Path
from typing import Any

from bss.provenance import code_version


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, libraries and the commit."""
    import numpy
    import torch

    code = code_version()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "commit": code["commit"][:12] + ("-modified" if code["modified"] else ""),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
