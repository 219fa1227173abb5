"""The processes that train one model together: one in a notebook, as many as `accelerate launch` or `torchrun` started.

Accelerate knows who they are, averages gradients and carries tensors between them. Here is what the loop asks of them.
One process asks nothing of the network and computes what it always did.
"""

import os
import zlib
from collections.abc import Iterator
from datetime import timedelta

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list, gather_object
from jaxtyping import Float, Int
from torch import Tensor, nn

from difflm_core.training.parts import Part

PATIENCE = timedelta(hours=2)  # one process may prepare the data for that long while the others wait


class Team:
    """`size` processes, of which this one is number `rank`; `main` is the one that writes and speaks.

    Mixed precision is the recipe's business (`State`), not the launcher's: Accelerate keeps its own per process, once
    and for all, and a notebook trains more than one recipe. `some_unused`: some steps use only some of the weights.
    """

    def __init__(self, device=None, some_unused: bool = False):
        check_launcher()
        alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
        self.accelerator = Accelerator(
            cpu=alone or torch.device(device or "cpu").type == "cpu",
            mixed_precision="no",
            device_placement=False,
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=some_unused),
                InitProcessGroupKwargs(timeout=PATIENCE),
            ],
        )
        self.size, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        self.main = self.rank == 0
        self.device = device if alone else self.accelerator.device

    def mean(self, value: float) -> float:
        """The mean of each process's value."""
        return value if self.size == 1 else self._numbers(value).mean().item()

    def any(self, flag: bool) -> bool:
        """Is it true for any process? All must ask at the same moment."""
        return flag if self.size == 1 else bool(self._numbers(flag).any())

    def _numbers(self, value: float) -> Float[Tensor, "size"]:
        return self.accelerator.gather(torch.tensor([value], dtype=torch.float64, device=self.device))

    def objects(self, value) -> list:
        """Each process's value, in order of rank."""
        return [value] if self.size == 1 else gather_object([value])

    def gather(self, rows: Float[Tensor, "b L"]) -> Float[Tensor, "B L"]:
        """The rows of all processes, in order of rank."""
        return rows if self.size == 1 else self.accelerator.gather(rows.contiguous())

    def rows(self, B: int) -> Int[Tensor, "b"]:
        """This process's rows of B, as many as every other's: the last row is taken again where they do not come out
        even.
        """
        each = -(-B // self.size)
        return (torch.arange(each) + self.rank * each).clamp(max=B - 1)

    def dealt(self, nelbo):
        """`nelbo(x, t, generator)`, each process computing its rows; all get all of them."""
        if self.size == 1:
            return nelbo

        def every_row(x, t, generator):
            rows = self.rows(len(x)).to(x.device)
            with Part(rows, len(x), generator):
                nats = nelbo(x[rows], t[rows], generator)
            return self.gather(nats)[: len(x)]

        return every_row

    def micro_batches(self, batch_size: int, accumulate: int) -> list[Int[Tensor, "b"]]:
        """This process's rows of the global batch, in `accumulate` equal parts."""
        parts = self.size * accumulate
        if batch_size % parts:
            raise ValueError(
                f"batch_size = {batch_size} is that of all processes together and must be a multiple of processes x "
                f"accumulate = {self.size} x {accumulate}."
            )
        return list(self.rows(batch_size).split(batch_size // parts))

    def shared(self, data, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, "B L"]]:
        """The source's batches, the same in every process: each reads them, or, of a stream that is `read_once`, the
        main process does.
        """
        if self.size == 1 or not getattr(data, "read_once", False):
            return data.train(batch_size, generator)
        return FromMain(data.train(batch_size, generator) if self.main else None)

    def check_same_data(self, data) -> None:
        """All processes must see the same text, or the parts are not those of one batch."""
        if self.size > 1:
            seen = zlib.crc32(data.tokenizer().to_str().encode())
            for x in data.evaluation():
                seen = zlib.crc32(x.numpy().tobytes(), seen)
            if len(set(self.objects(seen))) > 1:
                raise ValueError("The processes see different texts: give every machine the same files and packages.")


class FromMain:
    """Batches that the main process reads and hands to all; if it fails, all fail with its sentence."""

    def __init__(self, batches: Iterator[Int[Tensor, "B L"]] | None):
        self.batches = batches

    def __iter__(self) -> "FromMain":
        return self

    def __next__(self) -> Int[Tensor, "B L"]:
        try:
            read = [next(self.batches) if self.batches is not None else None]
        except Exception as error:
            read = [error]
        broadcast_object_list(read)
        if isinstance(read[0], Exception):
            raise read[0]
        return read[0]

    def state_dict(self) -> dict:
        return {} if self.batches is None else self.batches.state_dict()

    def load_state_dict(self, state: dict) -> None:
        if self.batches is not None:
            self.batches.load_state_dict(state)


class Loss(nn.Module):
    """A task's loss as a module's forward: what is averaged over processes must be called as one module."""

    def __init__(self, task, model: nn.Module):
        super().__init__()
        self.task, self.model = task, model

    def forward(self, x: Int[Tensor, "b L"], generator: torch.Generator) -> Float[Tensor, "b L"]:
        return self.task.loss(self.model, x, generator)


def check_launcher() -> None:
    for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("true", "1"):
            raise ValueError(
                f"The recipe says how a model is dealt to processes (--engine.fsdp): launch it without {name}."
            )
