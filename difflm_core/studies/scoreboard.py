"""Every method of the course on the toy language, with equal parameters, equal training and the same sentences.

Each system has 245,000 parameters within a tenth (autoencoder, denoiser and error predictor together), is trained with
the same FLOPs (`studies.flops`: counted, and never more), and sees the same sentences. One setting a method, which its
lesson or its stored study found good, made narrower until it fits; none is tuned here. The latent systems stand on an
encoder that was pretrained outside of the budget, as each of their rows says. Four kinds of row:

    true      what the figures are for true sentences, and the entropy, which no bound can beat
    method    parameters, what training took, stage by stage, and the bound or why there is none
    texts     what a sampler writes with so many calls of its largest network; `network_calls` counts all networks
    seconds   per 1,000 tokens: all samplers beside each other, at the end, with the networks of the first seed

Rows are kept as they come: an interrupted study goes on where it was. The stored run took 50 minutes of one core.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict

import torch
from jaxtyping import Int
from torch import Tensor, nn

from difflm_core.data import toy_language
from difflm_core.evaluation import distinct_n, estimate_nelbo
from difflm_core.studies import scoreboard_latents, scoreboard_methods, store
from difflm_core.studies.kept_rows import folder_of, forget, over_cells
from difflm_core.studies.scoreboard_methods import Method, Way, training_texts
from difflm_core.studies.toy_quality import quality

SETTINGS = {
    "budget": 1.8e12,  # FLOPs of each method's training
    "texts": scoreboard_methods.TEXTS,
    "most_calls": 128,
    "samples": 500,
    "held_out": 2048,
    "draws": 8,
    "timed": 84,  # texts in a batch: 1,008 tokens
    "repeats": 5,
}
SEEDS = (0, 1, 2)
METHODS = scoreboard_methods.METHODS | scoreboard_latents.METHODS


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(method: str, seed: int) -> Iterator[dict]:
    """The rows of a method and seed; its network is kept until the end."""
    if method == "true":
        yield {"what": "true"} | true_sentences(seed)
        return
    how = METHODS[method]
    net, took = how.train(SETTINGS["budget"], seed)
    net.eval()
    row = {"what": "method", "parameters": how.parameters(net), "flops": sum(spent.flops for spent in took.values())}
    row |= {"stages": {name: asdict(spent) for name, spent in took.items()}}
    row |= {"train_seconds": sum(spent.seconds for spent in took.values()), "pretrained": how.pretrained}
    yield row | bound_of(how, net)
    for sampler, way in how.ways.items():
        for calls in allowed(way):
            sample = way.draw(net, calls, SETTINGS["samples"], seeded(1000 + seed))
            calls_made = sample.network_calls.double().mean().item()
            row = {"what": "texts", "sampler": sampler, "calls": calls, "network_calls": calls_made}
            yield row | figures(sample.tokens)
    torch.save(net, folder_of("scoreboard") / f"{method}-{seed}.pt")


def allowed(way: Way) -> list[int]:
    return [calls for calls in way.calls if calls <= SETTINGS["most_calls"]]


def held_out() -> list[Int[Tensor, "B 12"]]:
    return list(toy_language().sample(SETTINGS["held_out"], generator=seeded(4321)).split(512))


def true_sentences(seed: int) -> dict:
    """Nats per token: the entropy, and -log p of the held-out sentences, on which all bounds are taken."""
    language, texts = toy_language(), torch.cat(held_out())
    exact = -language.log_prob(texts).mean().item() / language.length
    known = {"entropy_per_token": language.entropy() / language.length, "exact": exact}
    return known | figures(language.sample(SETTINGS["samples"], generator=seeded(1000 + seed)))


def bound_of(how: Method, net: nn.Module) -> dict:
    """Nats per token, an upper limit of -log p of the held-out sentences (of an autoregressive network it itself)."""
    if how.nelbo is None:
        return {"bound": None, "standard_error": None, "no_bound": how.no_bound}
    estimate = estimate_nelbo(lambda x, t, g: how.nelbo(net, x, t, g), held_out(), SETTINGS["draws"], seeded(5))
    return {"bound": estimate.mean, "standard_error": estimate.standard_error}


def figures(tokens: Int[Tensor, "B 12"]) -> dict:
    """Quality and variety, and the share of sentences that stand in the training set."""
    found = {"distinct_2": distinct_n(tokens, 2), "coverage": coverage(tokens), "copied": copied(tokens)}
    return quality(tokens, least=20) | found


def coverage(tokens: Int[Tensor, "B 12"]) -> float:
    """Share of the different word pairs in as many true sentences that occur in these too."""
    pairs = word_pairs(toy_language().sample(len(tokens), generator=seeded(77)))
    return len(pairs & word_pairs(tokens)) / len(pairs)


def word_pairs(tokens: Int[Tensor, "B 12"]) -> set[tuple[int, int]]:
    return set(map(tuple, tokens.unfold(1, 2, 1).reshape(-1, 2).tolist()))


def copied(tokens: Int[Tensor, "B 12"]) -> float:
    seen = set(map(tuple, training_texts().tolist()))
    return sum(tuple(row) in seen for row in tokens.tolist()) / len(tokens)


def seconds(seed: int) -> list[dict]:
    """All samplers in turn, again and again, so that whatever else the machine does meets all alike."""
    jobs = [(method, sampler, way, calls) for method, how in METHODS.items()
            for sampler, way in how.ways.items() for calls in allowed(way)]  # fmt: skip
    folder = folder_of("scoreboard")
    nets = {method: torch.load(folder / f"{method}-{seed}.pt", weights_only=False) for method in METHODS}
    took: list[list[float]] = [[] for _ in jobs]
    for repeat in range(SETTINGS["repeats"]):
        for times, (method, _, way, calls) in zip(took, jobs):
            times.append(seconds_per_1000_tokens(way, nets[method], calls, repeat))
    return [
        {"method": method, "seed": seed, "what": "seconds", "sampler": sampler, "calls": calls}
        | {"seconds": statistics.median(times), "fastest": min(times), "slowest": max(times)}
        for times, (method, sampler, _, calls) in zip(took, jobs)
    ]


def seconds_per_1000_tokens(way: Way, net: nn.Module, calls: int, seed: int) -> float:
    way.draw(net, way.calls[0], 2, seeded(seed))  # warms up
    began = time.perf_counter()
    tokens = way.draw(net, calls, SETTINGS["timed"], seeded(seed)).tokens
    return 1000 * (time.perf_counter() - began) / tokens.numel()


def cells() -> list[dict]:
    return [{"method": method, "seed": seed} for seed in SEEDS for method in ("true", *METHODS)]


def told(row: dict) -> str:
    where = f"seed {row['seed']}   {row['method']:15}"
    if row["what"] == "method":
        bound = "no bound" if row["bound"] is None else f"bound {row['bound']:.4f} ± {row['standard_error']:.4f}"
        return f"{where} {row['parameters']:,} parameters, {row['flops']:.3g} FLOPs, {bound}"
    name = f"{row.get('sampler', ''):14} {row.get('calls', ''):>4}"
    if row["what"] == "seconds":
        return f"{where} {name} {row['seconds']:.3f} s per 1,000 tokens ({row['fastest']:.3f} to {row['slowest']:.3f})"
    calls = f", {row['network_calls']:.1f} calls" if "network_calls" in row else ""
    return (
        f"{where} {name} grammatical {row['grammatical']:.3f}, coverage {row['coverage']:.3f}, distinct-2 "
        f"{row['distinct_2']:.3f}, copied {row['copied']:.3f}{calls}"
    )


def main() -> None:
    rows, took = over_cells("scoreboard", SETTINGS, cells(), run, told)
    began = time.perf_counter()
    for row in seconds(SEEDS[0]):
        rows.append(row)
        print(told(row), flush=True)
    store.save("scoreboard", SETTINGS, rows, took + time.perf_counter() - began)
    forget("scoreboard")


if __name__ == "__main__":
    main()
