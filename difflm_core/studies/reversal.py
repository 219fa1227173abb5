"""The reversal task: who has read "A follows B", does he know whom B leads? Masked diffusion and its autoregressive
twin on made-up facts, over seeds.

Names are three words of the toy language ("great brown fox"). Every fact is told forward, "A follows B"; half of them
also in reverse, "B leads A", so that both networks learn what the reverse form means. Then three questions, answered
greedily, right only if all three words are:

- forward: "A follows ? ? ?",
- reverse: "B leads ? ? ?", about facts that were told both ways, and about those that were told forward only,
- before: "? ? ? follows B", the word order that was read, the other way round.

A masked network can be asked all of them. Its twin writes from left to right: it is asked `before` by writing a name
without having seen B, and, as a fairer question at many times the cost, by choosing among all names the A under which
"A follows B" is likeliest. (Infilling in sentences of the toy language: study looking_ahead.) About 8 minutes on one
core.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from difflm_core.data.toy_language import ADJECTIVES, COLOURS, NOUNS
from difflm_core.models import Transformer, TransformerConfig
from difflm_core.objectives import autoregressive_nll, masked_nelbo, stratified_times
from difflm_core.processes import masked
from difflm_core.samplers import confidence, sample_ar, sample_masked
from difflm_core.studies import store
from difflm_core.training.descend import descend

WORDS = [*ADJECTIVES, *COLOURS, *NOUNS["one"], "follows", "leads"]
V, NAME = len(WORDS), 3
L = 2 * NAME + 1
FOLLOWS, LEADS = V - 2, V - 1
SETTINGS = {"facts": 100, "steps": 1000, "batch_size": 64, "learning_rate": 2e-3, "width": 96, "layers": 2}
SEEDS = (0, 1, 2)


def names(count: int, generator: torch.Generator) -> Int[Tensor, "N 3"]:
    """Different names, each an adjective, a colour and a noun; any two of them may share words."""
    sizes = (len(ADJECTIVES), len(COLOURS), len(NOUNS["one"]))
    chosen = torch.randperm(sizes[0] * sizes[1] * sizes[2], generator=generator)[:count]
    noun, rest = chosen % sizes[2], chosen // sizes[2]
    return torch.stack([rest // sizes[1], sizes[0] + rest % sizes[1], sizes[0] + sizes[1] + noun], 1)


def told(row: dict) -> str:
    rates = ", ".join(f"{key} {value:.2f}" for key, value in row.items() if key not in ("model", "seed"))
    return f"{row['model']}: {rates}"


def sentence(first: Int[Tensor, "N 3"], word: int, second: Int[Tensor, "N 3"]) -> Int[Tensor, "N 7"]:
    return torch.cat([first, torch.full((len(first), 1), word), second], 1)


def network(causal: bool, seed: int) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(TransformerConfig(V, L, SETTINGS["width"], SETTINGS["layers"], 4, causal))


def learn(model: Transformer, texts: Int[Tensor, "N 7"], seed: int) -> None:
    g = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[Int[Tensor, "B 7"]]:
        while True:
            yield texts[torch.randint(len(texts), (SETTINGS["batch_size"],), generator=g)]

    def loss(x):
        if model.config.causal:
            return autoregressive_nll(model, x).mean()
        return masked_nelbo(masked(V), model, x, stratified_times(len(x), g), g).mean()

    name = "autoregressive" if model.config.causal else "masked"
    descend(model, loss, batches(), SETTINGS["steps"], SETTINGS["learning_rate"], name, False, 0.99)


def answered(model: Transformer, known: Int[Tensor, "N 7"], asked: Bool[Tensor, "7"]) -> Int[Tensor, "N 7"]:
    """The canvas with the asked positions written: the surest first, or from left to right over what was known."""
    if not model.config.causal:
        return sample_masked(model, confidence(NAME), known.shape, known.masked_fill(asked, V), temperature=0).tokens
    start = int(asked.nonzero()[0])
    return torch.where(asked, sample_ar(model, known.shape, known[:, :start], temperature=0).tokens, known)


def share_right(model: Transformer, texts: Int[Tensor, "N 7"], asked: Bool[Tensor, "7"]) -> float:
    return (answered(model, texts, asked) == texts).all(1).double().mean().item()


@torch.no_grad()
def likeliest_before(model: Transformer, texts: Int[Tensor, "N 7"], A: Int[Tensor, "K 3"]) -> float:
    """The share of texts whose own first name makes them likelier than any other of A does: K passes a question."""
    scores = []
    for text in texts:
        scores.append(autoregressive_nll(model, sentence(A, FOLLOWS, text[None, -NAME:].expand(len(A), -1))).sum(1))
    chosen = A[torch.stack(scores).argmin(1)]
    return (chosen == texts[:, :NAME]).all(1).double().mean().item()


def run(seed: int) -> Iterator[dict]:
    both = names(2 * SETTINGS["facts"], torch.Generator().manual_seed(seed))
    A, B = both.chunk(2)
    half = len(A) // 2
    forward, reverse = sentence(A, FOLLOWS, B), sentence(B, LEADS, A)
    read = torch.cat([forward, reverse[:half]])
    last, first = torch.arange(L) > NAME, torch.arange(L) < NAME
    for causal in (False, True):
        model = network(causal, seed)
        learn(model, read, seed)
        row = {
            "model": "autoregressive" if causal else "masked",
            "forward": share_right(model, forward, last),
            "reverse_told": share_right(model, reverse[:half], last),
            "reverse_untold": share_right(model, reverse[half:], last),
            "before": share_right(model, forward, first),
            "before_untold": share_right(model, forward[half:], first),
        }
        if causal:
            row["before_by_search"] = likeliest_before(model, forward, A)
        yield row


def main() -> None:
    store.over_seeds("reversal", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
