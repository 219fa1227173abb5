"""DDPM on eight islands in the plane: which loss, which output, which schedule, which variance, how many steps?

The data is a mixture of normal laws, so that the best denoiser, -log p(x) and what share of samples may lie in the sea
are known. Every network has the same size and budget; only what the table `VARIANTS` names differs. The best denoiser
goes through the same measurements. About 7 minutes on one core.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from difflm_core.objectives.gaussian import gaussian_mse, gaussian_nelbo, gaussian_parts
from difflm_core.objectives.gaussian_variance import best_variance, fixed_large, fixed_small
from difflm_core.objectives.learned_variance import gaussian_hybrid_loss, learned
from difflm_core.objectives.times import stratified_times
from difflm_core.oracle.gaussian import GaussianMixture
from difflm_core.processes.floored import Floored
from difflm_core.processes.gaussian import GaussianProcess, spread
from difflm_core.processes.schedules import CosineBeta, LinearBeta, Schedule
from difflm_core.samplers.gaussian import sample_gaussian, subset
from difflm_core.studies import store

SETTINGS = {
    "steps": 1500,
    "batch_size": 256,
    "learning_rate": 5e-3,
    "width": 96,
    "T": 200,
    "calls": [5, 10, 20, 50, 200],
    "samples": 2000,
    "points": 1000,
}
SEEDS = (0, 1, 2)
SCHEDULES: dict[str, Schedule] = {"linear": LinearBeta(), "cosine": Floored(CosineBeta())}  # eps needs some signal


def islands() -> GaussianMixture:
    """Eight islands on a circle, large ones (twice as many points) and small ones in turn; variance about 1 a
    coordinate.
    """
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = 1.4 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return GaussianMixture(torch.tensor([2.0, 1.0] * 4), means, 0.01 * torch.eye(2).expand(8, 2, 2))


class PointNet(nn.Module):
    """(z_t (B, D), t (B,)) -> (B, outputs): three hidden layers.

    It sees z_t and t also as sines and cosines of several frequencies (VDM, Kingma et al. 2021, feeds its network such
    features of z_t): near the data the answer changes quickly with z_t, which a plain network learns very slowly. t
    scales every hidden unit, since the same z_t means another thing at another t.
    """

    def __init__(self, D: int = 2, width: int = SETTINGS["width"], outputs: int | None = None, frequencies: int = 5):
        super().__init__()
        self.register_buffer("of_t", math.pi * 2.0 ** torch.arange(6))
        self.register_buffer("of_z", math.pi / 4 * 2.0 ** torch.arange(frequencies))
        self.first = nn.Linear(D * (1 + 2 * frequencies) + 12, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.scale = nn.ModuleList(nn.Linear(12, width) for _ in range(2))
        self.last = nn.Linear(width, outputs or D)

    def forward(self, z_t: Float[Tensor, "B D"], t: Float[Tensor, "B"]) -> Float[Tensor, "B outputs"]:
        time, place = t.to(z_t.dtype)[:, None] * self.of_t, (z_t[..., None] * self.of_z).flatten(1)
        time = torch.cat([time.sin(), time.cos()], dim=1)
        h = nn.functional.silu(self.first(torch.cat([z_t, place.sin(), place.cos(), time], dim=1)))
        for layer, scale in zip(self.hidden, self.scale):
            h = nn.functional.silu(layer(h) * (1 + scale(time)))
        return self.last(h)


class TwoHeads(PointNet):
    """(prediction, o), both (B, D): the second says where the variance lies."""

    def __init__(self, D: int = 2, width: int = SETTINGS["width"]):
        super().__init__(D, width, 2 * D)

    def forward(self, z_t, t):
        return super().forward(z_t, t).chunk(2, dim=1)


@dataclass(frozen=True)
class Variant:
    """What a network answers (`kind`), what it is trained with (`loss`) and the schedule, by name."""

    loss: str  # "simple": the eps error, whatever the output; "own": the error of its own output; "bound"; "hybrid"
    kind: str
    schedule: str


VARIANTS = (
    Variant("simple", "v", "linear"),
    Variant("simple", "v", "cosine"),
    Variant("bound", "v", "linear"),
    Variant("bound", "v", "cosine"),
    Variant("hybrid", "v", "linear"),
    Variant("hybrid", "v", "cosine"),
    Variant("own", "eps", "linear"),
    Variant("own", "eps", "cosine"),
    Variant("own", "x", "cosine"),
    Variant("own", "v", "cosine"),
)


def loss_of(variant: Variant, process: GaussianProcess, net: nn.Module, x, t, generator) -> Tensor:
    """The training loss, one number."""
    if variant.loss == "bound":
        return gaussian_nelbo(process, process.denoiser(net, variant.kind), x, t, SETTINGS["T"], generator).mean()
    if variant.loss == "hybrid":
        return gaussian_hybrid_loss(process, net, x, t, SETTINGS["T"], variant.kind, generator=generator).mean()
    error = gaussian_mse(process, net, x, t, variant.kind, generator)
    if variant.loss == "simple" and variant.kind == "v":  # ||eps error||^2 = alpha ||v error||^2
        error = spread(process.alpha(t), x) * error
    return error.mean()


def fit(parameters, loss: Callable[[Tensor, Tensor, torch.Generator], Tensor], seed: int, steps: int, progress=range):
    """Minimise loss(x, t, generator) on fresh points: Adam, learning rate falling to 0 along a cosine."""
    data, generator = islands(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(parameters, SETTINGS["learning_rate"], betas=(0.9, 0.99), fused=True)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    pool = data.sample(steps * SETTINGS["batch_size"], generator=generator).float().split(SETTINGS["batch_size"])
    for i in progress(steps):
        value = loss(pool[i], stratified_times(SETTINGS["batch_size"], generator), generator)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        fall.step()


def train(variant: Variant, seed: int, steps: int = SETTINGS["steps"]) -> PointNet:
    torch.manual_seed(seed)
    net, process = TwoHeads() if variant.loss == "hybrid" else PointNet(), GaussianProcess(SCHEDULES[variant.schedule])
    fit(list(net.parameters()), lambda x, t, g: loss_of(variant, process, net, x, t, g), seed, steps)
    return net.eval()


def sliced_distance(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"], directions: int = 64) -> float:
    """Mean over directions of the distance between the sorted projections (1-Wasserstein); about 0.02 for two true
    samples of 2,000 points.
    """
    way = torch.randn(a.shape[1], directions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    way = way / way.norm(dim=0)
    return ((a.double() @ way).sort(0).values - (b.double() @ way).sort(0).values).abs().mean().item()


def at_sea(x: Float[Tensor, "N 2"]) -> float:
    """The share of points further than 4 standard deviations from every island: 0.0003 of true ones."""
    distance = torch.cdist(x.double(), islands().means).min(1).values
    return (distance > 0.4).double().mean().item()


def sample_quality(x: Float[Tensor, "N 2"], seed: int) -> dict:
    truth = islands().sample(len(x), generator=torch.Generator().manual_seed(500 + seed))
    nearest = torch.cdist(x.double(), islands().means).argmin(1)
    return {
        "at_sea": at_sea(x),
        "distance": sliced_distance(x, truth),
        "large_islands": (nearest % 2 == 0).double().mean().item(),
    }


def samples(process: GaussianProcess, denoise: Callable, seed: int) -> list[dict]:
    """Both samplers at every number of calls, on an even subset of the chain."""
    rows = []
    for eta in (0.0, 1.0):
        for calls in SETTINGS["calls"]:
            generator, shape = torch.Generator().manual_seed(seed), (SETTINGS["samples"], 2)
            times = subset(SETTINGS["T"], calls)
            x = sample_gaussian(process, denoise, SETTINGS["T"], shape, generator, eta, times).x
            rows.append({"eta": eta, "calls": calls, **sample_quality(x, seed)})
    return rows


def bounds(process: GaussianProcess, denoise: Callable, variances: dict[str, Callable]) -> dict:
    """For each variance the bound on the same points, T = 200: nats per dimension, and its parts."""
    x = islands().sample(SETTINGS["points"], generator=torch.Generator().manual_seed(4321))
    found = {}
    for name, variance in variances.items():
        generator = torch.Generator().manual_seed(5)
        parts = gaussian_parts(process, denoise, x.float(), SETTINGS["T"], generator, variance)
        excess = parts.nelbo.double() + islands().log_prob(x) / 2  # above -log p of these very points
        found[name] = {
            "bound": parts.nelbo.mean().item(),
            "excess": excess.mean().item(),
            "standard_error": (excess.std() / len(x) ** 0.5).item(),
            "prior": parts.prior.mean().item(),
            "reconstruction": parts.reconstruction.mean().item(),
        }
    return found


@torch.no_grad()
def errors(process: GaussianProcess, denoise: Callable) -> list[dict]:
    """The squared error of x_hat over t, less that of the best denoiser, and the latter alone (per coordinate)."""
    rows, best = [], islands().denoiser(process)
    x = islands().sample(SETTINGS["points"], generator=torch.Generator().manual_seed(4321)).float()
    for t in (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0):
        time_ = torch.full((len(x),), t)
        z_t = process.corrupt(x, time_, torch.Generator().manual_seed(6))
        truth, answer = best(z_t, time_), denoise(z_t, time_)
        excess = ((answer - truth) ** 2).mean().item()
        rows.append({"t": t, "excess": excess, "best": ((truth - x) ** 2).mean().item()})
    return rows


def run(variant: Variant, seed: int, steps: int = SETTINGS["steps"]) -> dict:
    """Train one network and measure everything."""
    process, net = GaussianProcess(SCHEDULES[variant.schedule]), train(variant, seed, steps)
    variances = {"small": fixed_small, "large": fixed_large}
    if variant.loss == "hybrid":
        variances["learned"] = learned(net)
    mean = (lambda z_t, t: net(z_t, t)[0]) if variant.loss == "hybrid" else net
    denoise = process.denoiser(mean, variant.kind)
    return measured(process, denoise, variances, seed)


def run_best(schedule: str, seed: int) -> dict:
    """The same measurements of the best denoiser, nothing trained."""
    process, data = GaussianProcess(SCHEDULES[schedule]), islands()
    best = best_variance(lambda z_t, t: data.posterior(z_t, t, process)[1], process)
    return measured(process, data.denoiser(process), {"small": fixed_small, "large": fixed_large, "best": best}, seed)


def measured(process, denoise, variances, seed) -> dict:
    return {
        "bounds": bounds(process, denoise, variances),
        "samples": samples(process, denoise, seed),
        "errors": errors(process, denoise),
    }


def main() -> None:
    started, runs = time.perf_counter(), []
    for seed in SEEDS:
        for schedule in SCHEDULES:
            names = {"loss": "none", "kind": "exact", "schedule": schedule, "seed": seed}
            runs.append({**names, **run_best(schedule, seed)})
            print(line(runs[-1]), flush=True)
        for variant in VARIANTS:
            names = {"loss": variant.loss, "kind": variant.kind, "schedule": variant.schedule, "seed": seed}
            runs.append({**names, **run(variant, seed)})
            print(line(runs[-1]), flush=True)
    exact = -islands().log_prob(islands().sample(200_000, generator=torch.Generator().manual_seed(7))).mean().item() / 2
    truth = [islands().sample(SETTINGS["samples"], generator=torch.Generator().manual_seed(seed)) for seed in SEEDS]
    runs += [{"loss": "none", "kind": "truth", "seed": s, **sample_quality(x, s)} for s, x in zip(SEEDS, truth)]
    store.save("gaussian_ddpm", {**SETTINGS, "entropy": exact}, runs, time.perf_counter() - started)


def line(r: dict) -> str:
    names = f"seed {r['seed']}   {r['loss']:7}{r['kind']:6}{r['schedule']:7}"
    nats = "  ".join(f"{name} {found['bound']:.3f}" for name, found in r["bounds"].items())
    sea = " ".join(f"{100 * s['at_sea']:.1f}" for s in r["samples"])
    return f"{names}   nats per dimension {nats}   % at sea (DDIM, ancestral) {sea}"


if __name__ == "__main__":
    main()
