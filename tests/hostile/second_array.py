"""Numbers of .npy files read a second time, by `struct` and indices, without NumPy's reader."""

import ast
import math
import struct

import numpy as np
import torch

from bss.config.modalities import FlowKind

LETTERS = {"f2": "e", "f4": "f", "f8": "d", "b1": "B"} | {f"i{size}": "bhiq"[i] for i, size in enumerate((1, 2, 4, 8))}
LETTERS |= {name.replace("i", "u"): letter.upper() for name, letter in LETTERS.items() if name[0] == "i"}
"""NumPy's names of types, and struct's."""


def numbers_of(data: bytes):
    """Return the numbers of the bytes of a .npy file in the type of its header, in C order and of its shape."""
    start = 10 if data[6] == 1 else 12
    size = int.from_bytes(data[8:start], "little")
    header = ast.literal_eval(data[start : start + size].decode("latin-1").strip())
    shape, name = header["shape"], header["descr"]
    byte_order = name[0] if name[0] in "<>" else "<"
    letter = LETTERS[name.lstrip("<>|=")]
    count = math.prod(shape)
    flat = struct.unpack_from(f"{byte_order}{count}{letter}", data, start + size)
    if name.endswith("b1"):
        flat = [number != 0 for number in flat]
    # The first index runs fastest in Fortran's order.
    strides = [math.prod(shape[:i] if header["fortran_order"] else shape[i + 1 :]) for i in range(len(shape))]
    ordered = [flat[sum(map(int.__mul__, index, strides))] for index in np.ndindex(*shape)]
    return np.array(ordered, dtype=f"{name.lstrip('<>|=')}").reshape(shape)


def compare_features(decoded, data: bytes) -> None:
    """Assert that `decoded` is what a .npy file of these bytes holds as float32, exactly."""
    expected = numbers_of(data).astype(np.float32)
    assert decoded.shape == (expected.shape or (1,))
    np.testing.assert_array_equal(decoded.ravel(), expected.ravel())


def compare_flow(decoded, data: bytes, kind: FlowKind) -> None:
    """Assert that `decoded` is the middle of the flow in a .npy file of these bytes, resized, as float16."""
    flow = numbers_of(data).astype(np.float32)
    if flow.shape[1] != 2:
        flow = flow.transpose(1, 0, 2, 3)
    first = max(0, (len(flow) - kind.frames) // 2)
    kept = [flow[min(first + i, len(flow) - 1)] for i in range(kind.frames)]
    height, width = flow.shape[2:]
    # Torch's filter is Pillow's; in float64 here, so it is right to far more digits than float16 has.
    planes = torch.from_numpy(np.stack(kept).astype(np.float64))
    size = (kind.height, kind.width)
    resized = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True).numpy()
    resized *= np.array([kind.width / width, kind.height / height])[:, None, None]
    if (height, width) == size:
        np.testing.assert_array_equal(decoded, np.stack(kept).astype(np.float16))
    else:
        # A step of float16, and the rounding of Pillow's sums in float32.
        step = np.spacing(np.abs(resized).astype(np.float16)).astype(np.float64)
        assert (np.abs(decoded - resized) <= step + 1e-6 * np.abs(planes.numpy()).max()).all()
