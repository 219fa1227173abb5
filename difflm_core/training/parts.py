"""One global batch, dealt to processes and micro-batches: however it is dealt, every row gets the same noise.

Each part draws the random numbers of the whole batch, from a generator in the same state, and keeps those of its own
rows. That costs a few random numbers per token and no communication, and it makes two processes, or two micro-batches,
the same training as one. It holds for whatever a task draws, since the draws are caught where PyTorch makes them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

from difflm_core.objectives import stratified_times

DRAWS = (torch.rand, torch.randn, torch.randint)


class Part(TorchFunctionMode):
    """Inside, draws from `generator` of shape (len(rows), ...) are rows `rows` of a draw of shape (of, ...); so are
    those of (len(rows) K, ...), where each row is cut into K blocks.

    A single number, shape (1,), is one for the whole batch. Any other draw raises ValueError: it would differ from that
    of an undivided batch without anybody noticing.
    """

    current: "Part | None" = None

    def __init__(self, rows: Int[Tensor, "b"], of: int, generator: torch.Generator):
        super().__init__()
        self.rows, self.of, self.generator = rows, of, generator

    def __enter__(self) -> "Part":
        Part.current = self
        return super().__enter__()

    def __exit__(self, *error) -> None:
        Part.current = None
        super().__exit__(*error)

    def __torch_function__(self, function, types, arguments=(), named=None):
        named = named or {}
        if named.get("generator") is not self.generator:
            return function(*arguments, **named)
        if function is torch.randperm and arguments == (self.of,):
            return function(*arguments, **named)
        if function not in DRAWS:
            raise ValueError(f"{refused(function)} draws from the noise generator in a way that cannot be dealt.")
        before, shape = shape_of(function, arguments)
        if len(shape) > 1 and shape[0] % len(self.rows) == 0:
            each = shape[0] // len(self.rows)  # 1, or the number of blocks that a row is cut into
            draw = function(*before, (self.of * each, *shape[1:]), **named)
            return draw.unflatten(0, (self.of, each))[self.rows].flatten(0, 1)
        if shape in ((1,), (self.of,)):
            return function(*before, shape, **named)
        raise ValueError(f"{refused(function)} draws {shape}, not one or more numbers for each of the batch's rows.")


def batch_times(x: Int[Tensor, "B L"], generator: torch.Generator | None = None) -> Float[Tensor, "B"]:
    """Times for the rows of x, stratified over the global batch, of which x may be a part: what a task's loss uses."""
    part = Part.current
    if part is None:
        return stratified_times(len(x), generator, x.device)
    return stratified_times(part.of, generator, x.device)[part.rows]


def shape_of(function, arguments: tuple) -> tuple[tuple, tuple[int, ...]]:
    """(what comes before the shape, the shape): rand(2, 3), rand((2, 3)) and randint(5, (2, 3))."""
    if function is torch.randint:
        return arguments[:-1], tuple(arguments[-1])
    return (), tuple(arguments) if isinstance(arguments[0], int) else tuple(arguments[0])


def refused(function) -> str:
    return f"This task cannot be trained in parts (several processes, accumulate above 1): torch.{function.__name__}"
