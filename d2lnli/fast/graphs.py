"""Training steps on a CUDA GPU that need not wait for Python to launch each of their kernels.

The kernels of a step are captured in a CUDA graph, once for each shape of a minibatch. After that
the whole graph is launched at once. Kernels and numbers stay the same.
"""

import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..devices import kind, random_states, set_random_states, strictly_reproducible
from .network import is_plain_as_a_whole

Measured = list[tuple[Tensor, Tensor, Tensor]]
Step = Callable[[Any, Tensor, int | Tensor], Measured]
"""It takes inputs, labels and the number of pairs, and returns losses, outputs and labels."""


@contextmanager
def captured(
    step: Step, clear_gradients: Callable[[], None], net: nn.Module, precision: str
) -> Iterator[Step]:
    """Give a step for use inside the block: a captured one, or the same one where this is not sure.

    Python code in a network, such as a hook, would not run again. The scaler of fp16 decides about
    each step in Python. AMD's GPUs were not tried. D2LNLI_CAPTURE=0 in the environment captures
    nothing.
    """
    device = next(net.parameters()).device
    wanted = os.environ.get("D2LNLI_CAPTURE") != "0" and precision != "fp16"
    if kind(device) != "cuda" or torch.version.hip or not (wanted and is_plain_as_a_whole(net)):
        yield step
        return
    with own_stream(device), strictly_reproducible(device):
        yield CapturedStep(step, clear_gradients)


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Compute on another stream than the default one, on which nothing can be captured."""
    before, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    stream.wait_stream(before)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        before.wait_stream(stream)


class CapturedStep:
    """A step that computes the first minibatch of a shape as usual, and captures the second one.

    The first time, libraries prepare themselves, which cannot be captured.
    """

    def __init__(self, step: Step, clear_gradients: Callable[[], None]):
        self.step, self.clear_gradients = step, clear_gradients
        self.graphs: dict[torch.Size, Graph] = {}
        self.seen: set[torch.Size] = set()
        self.can_capture = True

    def __call__(self, X: list[Tensor], y: Tensor, num_pairs: int | Tensor) -> Measured:
        """Take the step for a minibatch."""
        shape = X[0].shape
        if self.can_capture and shape in self.seen and shape not in self.graphs:
            others = list(self.graphs.values())
            try:
                self.graphs[shape] = Graph(self.step, X, y, others[0] if others else None)
            except RuntimeError as error:
                self._give_up(error)
        if shape in self.graphs:
            return self.graphs[shape].replay(X, y, num_pairs)
        self.seen.add(shape)
        before = random_states(y.device)
        try:
            return self.step(X, y, num_pairs)
        except torch.OutOfMemoryError as error:
            if not self.graphs:
                raise
            self._give_up(error)  # graphs keep their memory
        set_random_states(y.device, before)
        return self.step(X, y, num_pairs)

    def _give_up(self, error: RuntimeError) -> None:
        """Capture nothing more, free what a failed pass and the graphs keep, and say why."""
        traceback.clear_frames(error.__traceback__)
        self.can_capture = False
        self.graphs.clear()
        self.clear_gradients()
        reason = str(error.__context__ or error).partition("\n")[0]  # what came first
        warnings.warn(
            f"training steps cannot be captured on this GPU ({reason}), so it waits for Python at "
            "each kernel: the numbers are the same, the speed is lower. If the run fails after "
            "this, set D2LNLI_CAPTURE=0 in the environment and start it again",
            stacklevel=3,
        )


class Graph:
    """The kernels of one step, with inputs and outputs at fixed places in the GPU's memory.

    Graphs share their memory, because only one runs at a time.
    """

    def __init__(self, step: Step, X: list[Tensor], y: Tensor, other: "Graph | None"):
        self.X, self.y = [x.clone() for x in X], y.clone()
        self.num_pairs = torch.ones((), device=y.device)
        self.graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(y.device)
        pool = other.graph.pool() if other else None
        with torch.cuda.graph(self.graph, pool, stream, "thread_local"):
            self.measured = step(self.X, self.y, self.num_pairs)

    def replay(self, X: list[Tensor], y: Tensor, num_pairs: int | Tensor) -> Measured:
        """Take the step with other inputs; what it returned before is overwritten."""
        for place, x in zip((*self.X, self.y), (*X, y), strict=True):
            place.copy_(x)
        self.num_pairs.fill_(num_pairs)
        self.graph.replay()
        return self.measured
