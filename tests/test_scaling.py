"""`--plan --gpus`: computing and sending against arithmetic by hand, and the bytes that two processes really send."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import SIZE, TINY

from difflm_core.training import RECIPES
from difflm_core.training.__main__ import main
from difflm_core.training.plan import needs
from difflm_core.training.recipes import Engine
from difflm_core.training.scaling import Cluster, lay_out

ROUND = Cluster(machine=4, peak=1e-3, share=0.5, memory=80, inside=10, between=4)  # 1 GFLOP/s, half of it reached


def test_data_parallel_by_hand():
    """P parameters: 2 x 7/8 x 4 P bytes on 8 GPUs, which lie in two machines of four."""
    told = needs(TINY)
    part = lay_out(TINY, 8, ROUND)
    assert (part.rows, part.micro) == (1, 1)
    assert part.sent == pytest.approx(2 * 7 / 8 * 4 * told.parameters)
    assert part.sending == pytest.approx(part.sent / 4e9)
    assert part.compute == pytest.approx(told.flops / 12 / (8 * 0.5e9))
    assert part.seconds(hidden=False) == pytest.approx(part.compute + part.sending)
    assert part.hideable == pytest.approx(2 / 3 * part.compute)
    assert lay_out(TINY, 4, ROUND).sending == pytest.approx(2 * 3 / 4 * 4 * told.parameters / 10e9)
    assert lay_out(TINY, 1, ROUND).sent == 0


def test_what_cannot_be_hidden_is_waited_for():
    slow = replace(ROUND, between=1e-6)
    part = lay_out(TINY, 8, slow)
    assert part.sending > part.compute
    assert part.seconds(hidden=True) == pytest.approx(part.compute / 3 + part.sending)
    assert lay_out(TINY, 8, ROUND).seconds(hidden=True) == pytest.approx(lay_out(TINY, 8, ROUND).compute)


def test_fully_sharded_by_hand():
    """Three thirds of what DDP sends in halves; each further micro-batch gathers the weights twice more."""
    dealt = replace(TINY, engine=Engine(fsdp=True))
    P, unit = needs(TINY).parameters, 7 / 8 * 4 * needs(TINY).parameters
    part = lay_out(dealt, 8, ROUND)
    assert part.sent == pytest.approx(3 * unit) and part.hideable == part.compute
    assert part.memory == pytest.approx(20 * P / 8 + needs(dealt, 8).activations)
    two = replace(TINY, batch_size=16, engine=Engine(fsdp=True))
    whole = lay_out(two, 8, ROUND).memory
    tight = lay_out(two, 8, replace(ROUND, memory=0.999e-9 * whole))
    assert tight.micro == 2 and tight.sent == pytest.approx(5 * unit)
    assert tight.memory == pytest.approx(20 * P / 8 + 4 * P + needs(two, 8).activations / 2)
    assert lay_out(dealt, 1, ROUND).sent == 0, "one process deals nothing"


def test_the_papers_runs():
    """The figures of docs/full_runs.md: 163 M parameters are 0.65 GB of gradients, 2 x 63/64 of it is sent by each."""
    part = lay_out(RECIPES["mdlm-owt"][1], 64)
    assert part.rows == 8 and part.sent == pytest.approx(2 * 63 / 64 * 0.652e9, rel=0.01)
    assert part.sending == pytest.approx(part.sent / 400e9)
    assert part.compute == pytest.approx(3.88e14 / (64 * 0.35 * 989e12), rel=0.01)


@pytest.mark.parametrize("change", [{"machine": 0}, {"share": 1.5}, {"between": 0.0}])
def test_nonsense_is_refused(change):
    with pytest.raises(ValueError, match="A cluster has machine at least 1"):
        replace(ROUND, **change)
    with pytest.raises(ValueError, match="batch_size = 8 cannot be dealt to 3 GPUs in equal parts"):
        lay_out(TINY, 3)


def test_the_command(capsys):
    small = ["--size.width", "16", "--size.layers", "1", "--size.heads", "2", "--batch-size", "64"]
    assert main(["mdlm-tiny", "--plan", *small, "--cluster.between", "50", "--gpus", "1", "8", "64"]) == 0
    said = capsys.readouterr().out
    assert "nothing of it measured" in said and "50 GB/s out of it" in said
    rows = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("|")]
    assert rows[2:] == ["1", "8", "64"]
    assert main(["mdlm-tiny", "--gpus", "8"]) == 1 and "add --plan, or start with torchrun" in capsys.readouterr().err
    assert main(["ld4lg-tiny", "--plan", "--gpus", "8"]) == 1 and "in one process" in capsys.readouterr().err


def test_ddp_hands_over_four_bytes_a_parameter(tmp_path):
    """One process is a group too: its gradient buckets hold each parameter once, in float32."""
    from torch.nn.parallel import DistributedDataParallel

    from difflm_core.training.state import State
    from difflm_core.training.team import Loss

    state, sent = State(replace(TINY, size=replace(SIZE, layers=2))), []
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        group = DistributedDataParallel(Loss(TINY.task, state.model))

        def hook(_, bucket):
            sent.append(bucket.buffer().nbytes)
            future = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        group.register_comm_hook(None, hook)
        group(next(state.batches), state.noise_generator).mean().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert sum(sent) == 4 * state.model.parameters_count()
