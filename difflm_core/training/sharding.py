"""FSDP2: every process keeps its part of each weight, and a block's weights come together only while it works.

Accelerate's own plugin does this on GPUs alone; here PyTorch's `fully_shard` is called in the same way on a CPU too, so
that tests see what a cluster runs. Each block is a unit, what is left (embeddings, norm, head) another. The average and
the optimiser's moments are dealt like the weights they belong to; checkpoints hold whole tensors, so that a run may go
on with another number of processes, or without FSDP.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from difflm_core.models.transformer import Block


def shard(module: nn.Module, processes: int) -> nn.Module:
    """Deal the module's weights to the processes, in place. Its own forward must be what calls the blocks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # a second to import

    row = init_device_mesh(next(module.parameters()).device.type, (processes,))
    for block in [part for part in module.modules() if isinstance(part, Block)]:
        fully_shard(block, mesh=row)
    return fully_shard(module, mesh=row)


def is_dealt(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")  # a DTensor


def whole(tensor: Tensor) -> Tensor:
    """A dealt tensor put together (all processes must ask for it at once); any other as it is."""
    return tensor.full_tensor() if is_dealt(tensor) else tensor


def whole_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: whole(tensor) for name, tensor in tensors.items()}


def dealt_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor dealt as `like` is; as it is where `like` is not dealt, or is of another shape (a step count)."""
    if not is_dealt(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def load_whole(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """`module.load_state_dict` of whole tensors, whether its weights are dealt or not."""
    here = module.state_dict()
    module.load_state_dict({name: dealt_like(value, here.get(name, value)) for name, value in tensors.items()})
