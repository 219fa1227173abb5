"""A recipe on many GPUs, on paper: what a step computes beside what it must send. Nothing here is measured.

    DDP     every GPU sends 2 (n - 1) / n x 4 P bytes a step: a ring averages the gradients
    FSDP    every GPU sends (2 k + 1) (n - 1) / n x 4 P bytes: each of k micro-batches gathers the weights twice,
            forward and backward, and one of them scatters the gradients

P parameters in float32 on n GPUs. For k = 1 FSDP sends 3 where DDP sends 2, or a little less, since what belongs to no
block is gathered once. In bfloat16 both would send half; the engine does not do that.

    compute = FLOPs of a step / (n x share x peak)        sending = bytes / speed

The rings of n <= `machine` GPUs stay within a machine. Larger ones pass through every GPU of a machine and leave it
once; together they may use all its network cards, so that they run at the slower of `inside` and `between`. At best
sending is hidden: under DDP behind the backward pass, two thirds of the last micro-batch, under FSDP behind all
computing. At worst nothing is. Left out: latencies (2 (n - 1) hops a ring), the optimiser, reading, evaluation, the
buffers of DDP and NCCL, and that smaller micro-batches reach a smaller share of the peak.
"""

from dataclasses import dataclass, replace

from difflm_core.training.plan import UTILISATION, needs, size_of
from difflm_core.training.recipe import Recipe

FLOAT32 = 4  # bytes
BACKWARD = 2 / 3  # of a step's computing


@dataclass(frozen=True)
class Cluster:
    """What is assumed of the machines: data sheets of an H100 and its network, and the share of the peak."""

    machine: int = 8
    """GPUs in one machine."""
    peak: float = 989.0
    """TFLOP/s of one GPU in dense bfloat16."""
    share: float = UTILISATION
    """Share of the peak that computing reaches."""
    memory: float = 80.0
    """GB of one GPU."""
    inside: float = 450.0
    """GB/s that a GPU sends within its machine."""
    between: float = 400.0
    """GB/s that a machine sends to others: eight cards of 400 Gb/s. One such card: 50."""

    def __post_init__(self):
        speeds = (self.peak, self.memory, self.inside, self.between)
        if self.machine < 1 or not min(speeds) > 0 or not 0 < self.share <= 1:
            raise ValueError("A cluster has machine at least 1, speeds and memory above 0, and share in (0, 1].")

    def speed(self, n: int) -> float:
        """Bytes per second of rings through n GPUs."""
        return 1e9 * (self.inside if n <= self.machine else min(self.inside, self.between))


@dataclass(frozen=True)
class Share:
    """One GPU's part of a step on n: rows, micro-batches (the fewest that fit), bytes in memory, seconds of computing,
    bytes sent, seconds of sending, and of these how many can be hidden.
    """

    n: int
    rows: int
    micro: int
    memory: float
    compute: float
    sent: float
    sending: float
    hideable: float

    def seconds(self, hidden: bool) -> float:
        """Of a step, if as much of the sending is hidden as can be, or nothing."""
        return self.compute + self.sending - (min(self.sending, self.hideable) if hidden else 0.0)


def lay_out(recipe: Recipe, n: int, cluster: Cluster = Cluster()) -> Share:
    """Raises ValueError where the batch cannot be dealt to n GPUs in equal parts."""
    if n < 1 or recipe.batch_size % n:
        raise ValueError(
            f"batch_size = {recipe.batch_size} cannot be dealt to {n} GPUs in equal parts: plan for a divisor of it."
        )
    rows, run = recipe.batch_size // n, needs(replace(recipe, engine=replace(recipe.engine, accumulate=1)), n)
    weights = FLOAT32 * run.parameters
    sharded = recipe.engine.fsdp and n > 1

    def memory(k: int) -> float:
        kept = weights if sharded and k > 1 else 0  # FSDP keeps whole gradients between micro-batches
        return run.state + kept + run.activations / k

    divisors = [k for k in range(1, rows + 1) if rows % k == 0]
    micro = next((k for k in divisors if memory(k) < 1e9 * cluster.memory), rows)
    compute = run.flops / recipe.steps / (n * cluster.share * 1e12 * cluster.peak)
    sent = (2 * micro + 1 if sharded else 2) * (n - 1) / n * weights
    hideable = compute if sharded else BACKWARD * compute / micro
    return Share(n, rows, micro, memory(micro), compute, sent, sent / cluster.speed(n), hideable)


def plan_scaling(name: str, recipe: Recipe, gpus: tuple[int, ...], cluster: Cluster = Cluster()) -> str:
    """The page that `--plan --gpus 1 8 64` prints."""
    tokens = recipe.batch_size * recipe.data.length
    way = "FSDP" if recipe.engine.fsdp else "DDP"
    lines = [
        f"{name} on {', '.join(map(str, gpus))} GPUs, {way}: steps of {recipe.batch_size} rows, {tokens:,} tokens",
        "Arithmetic on data sheets, nothing of it measured (training/scaling.py): "
        f"{cluster.peak:g} TFLOP/s and {cluster.memory:g} GB a GPU, {100 * cluster.share:.0f} % of the peak, "
        f"{cluster.machine} GPUs a machine, {cluster.inside:g} GB/s within it, {cluster.between:g} GB/s out of it",
        "",
        "| GPUs | rows each | micro-batches | memory each | computing, ms | sent by each | sending, ms (bfloat16) | "
        "tokens/s, nothing hidden | at best |",
        "|---|---|---|---|---|---|---|---|---|",
        *(line(lay_out(recipe, n, cluster), tokens, cluster) for n in gpus),
    ]
    return "\n".join(lines)


def line(part: Share, tokens: int, cluster: Cluster) -> str:
    fits = "" if part.memory < 1e9 * cluster.memory else ", does not fit"
    worst, best = (f"{tokens / part.seconds(hidden) / 1e6:.3g} million" for hidden in (False, True))
    cells = [part.n, part.rows, part.micro, size_of(part.memory) + fits, milliseconds(part.compute)]
    cells += [size_of(part.sent), f"{milliseconds(part.sending)} ({milliseconds(part.sending / 2)})", worst, best]
    return f"| {' | '.join(map(str, cells))} |"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"
