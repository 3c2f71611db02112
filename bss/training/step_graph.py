"""Training steps launched as one CUDA graph, for networks whose kernels run faster than they launch.

Recording a graph runs nothing, so it changes no weight, statistic or generator. What must have run before (momentum,
workspaces of libraries) comes from the steps themselves: the first few of a trial are plain ones. What a graph bakes
in is checked: it is recorded again when the learning rate or the memory of the weights changes. Random numbers come
from the default generator, which reads its seed when the graph is launched. See "CUDA Graphs" in PyTorch's notes on
CUDA semantics.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch

from bss.config import Config
from bss.console import make_console
from bss.models.network import MultiModalNetwork
from bss.training.step import Part, Passed, Step

WARM_UP = 3
"""Plain steps before the first recording."""


class Recorder(Protocol):
    """Records the work of a function once, and replays it on the same memory."""

    def stream(self) -> AbstractContextManager[Any]:
        """Return the context of all steps, including plain ones."""
        ...

    def record(self, work: Callable[[], list[Passed]]) -> list[Passed]:
        """Record the device work of `work` without running it; return what holds its results after a replay."""
        ...

    def replay(self) -> None:
        """Replay the recording."""
        ...


class CudaRecorder:
    """A CUDA graph.

    Plain steps also use the recording's stream: PyTorch keeps cuBLAS workspaces per stream, and the nodes that
    accumulate gradients remember theirs, so a recording after steps on another stream would have to wait for that one.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None

    @contextmanager
    def stream(self) -> Iterator[None]:
        before = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(before)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            before.wait_stream(self._stream)

    def record(self, work: Callable[[], list[Passed]]) -> list[Passed]:
        self._stream.synchronize()  # the previous graph may still run
        self._graph = None  # and frees its memory
        graph = torch.cuda.CUDAGraph()
        # Prefetching threads may allocate pinned memory meanwhile, which mode "global" forbids.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            results = work()
        self._graph = graph
        return results

    def replay(self) -> None:
        assert self._graph is not None
        self._graph.replay()


class StepGraph:
    """Takes steps with batches of `batch_size` samples from a recording, and all other steps plainly.

    One object serves one trial in one process. If recording fails, it warns, sets `failed`, and takes all steps
    plainly.
    """

    def __init__(self, batch_size: int, recorder: Recorder) -> None:
        self.batch_size, self._recorder = batch_size, recorder
        self._warm, self.failed = 0, False
        self._now: Any = None  # what a recording made now would bake in
        self._recorded: Any = None
        self._parts: list[Part] = []
        self._passed: list[Passed] = []

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Yield the context of one epoch's steps, in which learning rates and memory do not change."""
        self._now = None
        with self._recorder.stream():
            yield

    def step(self, take: Step, lengths: Sequence[int], loaded: Iterator[Part]) -> list[Passed]:
        """Act like ``take(lengths, loaded)``; the next step overwrites the results."""
        if self.failed or sum(lengths) != self.batch_size:
            return take(lengths, loaded)
        if self._warm < WARM_UP:
            self._warm += 1
            return take(lengths, loaded)
        if self._now is None:
            self._now = (_learning_rates(take.optimiser), _memory(take.network, take.optimiser))
        parts = [next(loaded) for _ in lengths]
        if self._recorded != self._now and not self._record(take, lengths, parts):
            return take(lengths, iter(parts))
        for kept, given in zip(self._parts, parts, strict=True):
            _copy(kept, given)
        self._recorder.replay()
        return self._passed

    def _record(self, take: Step, lengths: Sequence[int], parts: list[Part]) -> bool:
        """Record a step; return whether that worked."""
        self._parts = [({name: x.clone() for name, x in inputs.items()}, labels.clone()) for inputs, labels in parts]
        self._passed = []
        take.optimiser.zero_grad(set_to_none=True)  # the recording's gradients are in its own memory
        try:
            with _capturable(take.optimiser):
                self._passed = self._recorder.record(lambda: take(lengths, iter(self._parts)))
        except Exception as error:  # libraries fail in many ways
            self.failed = True
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            make_console().print(
                f"train.compile: graphs: a step cannot be recorded as a CUDA graph ({why[:200]}). Training continues "
                "without one.",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
            self._parts = []
            return False
        self._recorded = self._now
        return True


def step_graph(config: Config, device: torch.device) -> StepGraph | None:
    """Return the object that takes the steps of `config` if train.compile is graphs; None for plain steps.

    On a CPU there is nothing to gain, and steps are plain.
    """
    if config.train.compile != "graphs" or device.type != "cuda":
        return None
    return StepGraph(config.train.batch_size, CudaRecorder(device))


def _copy(kept: Part, given: Part) -> None:
    """Copy `given` over `kept` after checking shapes; otherwise values would be broadcast silently."""
    for name, x in given[0].items():
        assert x.shape == kept[0][name].shape
        kept[0][name].copy_(x)
    assert given[1].shape == kept[1].shape
    kept[1].copy_(given[1])


def _learning_rates(optimiser: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimiser.param_groups]


def _memory(network: MultiModalNetwork, optimiser: torch.optim.Optimizer) -> list[int]:
    """Return the memory addresses of everything that a step changes."""
    state = [x for values in optimiser.state.values() for x in values.values() if isinstance(x, torch.Tensor)]
    return [x.data_ptr() for x in (*network.parameters(), *network.buffers(), *state)]


@contextmanager
def _capturable(optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Make an optimiser capturable if it has that option; fused ones keep their counters on the device anyway."""
    groups = [group for group in optimiser.param_groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group["capturable"] = value
