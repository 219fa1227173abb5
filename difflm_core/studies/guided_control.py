"""Control of a small Diffusion-LM on the toy language: success and fluency against lambda, infilling with MBR, length.

A label is held to be reached if the exact grammar reads it in the sentence; fluency is the share of grammatical
sentences, and how much likelier those are than true sentences with the label. About 20 minutes on one core.
"""

import time
from collections.abc import Callable, Iterable
from functools import cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from difflm_core.data import (
    language_batches,
    length_prompt,
    text_length,
    toy_language,
    variable_length_language,
)
from difflm_core.data.toy_language import GRAMMAR
from difflm_core.models import DiffusionLM, LatentClassifier, VectorConfig, VectorTransformer
from difflm_core.objectives import diffusion_lm_loss, stratified_times
from difflm_core.oracle import HiddenMarkovLanguage, feature_value
from difflm_core.samplers import classifier_guide, minimum_bayes_risk, ngram_loss, sample_diffusion_lm
from difflm_core.studies import store
from difflm_core.studies.diffusion_lm_dimension import fit
from difflm_core.training import train_latent_classifier

SETTINGS = {
    "D": 16,
    "T": 2000,
    "steps": 50,
    "width": 96,
    "layers": 2,
    "train_steps": 1500,
    "batch_size": 128,
    "length_train_steps": 800,  # of the model with END and PAD
    "learning_rate": 3e-3,
    "warmup": 50,
    "ema": 0.98,
    "classifier_steps": 200,
    "classifier_width": 32,
    "clean_up_to": 0.02,
    "accuracy_at": [0.05, 0.2, 0.4, 0.6, 0.8, 0.95],
    "samples": 96,
    "labels": [["subject number", "many"], ["colour", "red"]],
    "lambdas": [10.0, 1.0, 0.1, 0.01, 0.001, 0.0],
    "lambda": 0.01,
    "guide_rate": 0.1,
    "updates": 3,
    "sources": 48,
    "hidden": 4,
    "per_source": 8,
    "lengths": [3, 6, 9, 12],
}
SEEDS = (0, 1, 2)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(language: HiddenMarkovLanguage, steps: int, seed: int) -> DiffusionLM:
    torch.manual_seed(seed)
    net = VectorTransformer(VectorConfig(SETTINGS["D"], language.length, SETTINGS["width"], SETTINGS["layers"]))

    def loss(model: DiffusionLM, _: Tensor, generator: torch.Generator) -> Tensor:
        x = language.sample(SETTINGS["batch_size"], generator=generator)
        return diffusion_lm_loss(model, x, stratified_times(len(x), generator), generator, SETTINGS["T"]).as_code.mean()

    return fit(DiffusionLM(language.V, net), loss, steps, seed, SETTINGS)


def labels_of(feature: str) -> Callable[[Int[Tensor, "B L"]], Int[Tensor, "B"]]:
    return lambda x: feature_value(GRAMMAR, feature, x)


def classifier_for(model: DiffusionLM, feature: str, seed: int, noise_up_to: float = 1.0) -> LatentClassifier:
    torch.manual_seed(100 + seed)
    config = VectorConfig(model.D, model.length, SETTINGS["classifier_width"], layers=1, heads=2)
    classifier = LatentClassifier(list(GRAMMAR.features[feature]), config)
    data = language_batches(toy_language(), SETTINGS["batch_size"], seeded(200 + seed))
    train_latent_classifier(
        classifier, model, data, labels_of(feature), SETTINGS["classifier_steps"], noise_up_to=noise_up_to,
        generator=seeded(300 + seed), progress=False,
    )  # fmt: skip
    return classifier


@torch.no_grad()
def accuracy(classifier: LatentClassifier, model: DiffusionLM, feature: str) -> list[float]:
    """Share of right labels at each time of `accuracy_at`."""
    generator, shares = seeded(4321), []
    x = toy_language().sample(512, generator=generator)
    label = feature_value(GRAMMAR, feature, x)
    for at in SETTINGS["accuracy_at"]:
        t = torch.full((len(x),), at)
        guess = classifier(model.process.corrupt(model.start(x, generator), t, generator), t).argmax(-1)
        shares.append((guess == label).double().mean().item())
    return shares


def quality(tokens: Int[Tensor, "B L"], wanted: list[tuple[str, int]]) -> dict:
    """`success`: all wanted labels are read. The gap, in nats a sentence, is between sentences that are right in both
    ways and true sentences with the labels: 0 is best, above it a sampler prefers the usual.
    """
    language = toy_language()
    has, good = has_labels(tokens, wanted), language.grammatical(tokens)
    both, (base_rate, usual) = has & good, of_true_sentences(tuple(wanted))
    return {
        "success": has.double().mean().item(),
        "grammatical": good.double().mean().item(),
        "both": both.double().mean().item(),
        "log_prob_gap": language.log_prob(tokens[both]).mean().item() - usual if int(both.sum()) >= 10 else None,
        "distinct": len(tokens.unique(dim=0)) / len(tokens),
        "base_rate": base_rate,
    }


@cache
def of_true_sentences(wanted: tuple[tuple[str, int], ...]) -> tuple[float, float]:
    """How many sentences of the language have the labels, and the mean log-probability of those."""
    true = toy_language().sample(4000, generator=seeded(99))
    has = has_labels(true, wanted)
    return has.double().mean().item(), toy_language().log_prob(true[has]).mean().item()


def has_labels(tokens: Int[Tensor, "B L"], wanted: Iterable[tuple[str, int]]) -> Bool[Tensor, "B"]:
    return torch.stack([feature_value(GRAMMAR, feature, tokens) == place for feature, place in wanted]).all(0)


def control(model: DiffusionLM, seed: int):
    """Rows of guided sampling; every setting starts from the same noise."""

    def row(wanted: list, classifiers: dict, fluency: float | None, **changes) -> dict:
        guide = None
        if fluency is not None:
            climbs = [classifiers[feature].says(label) for feature, label in wanted]
            settings = {"learning_rate": SETTINGS["guide_rate"], "updates": SETTINGS["updates"]} | changes
            guide = classifier_guide(model.process, lambda z, s: sum(c(z, s) for c in climbs), fluency, **settings)
        tokens = sample_diffusion_lm(
            model, SETTINGS["T"], (SETTINGS["samples"], model.length), generator=seeded(400 + seed),
            steps=SETTINGS["steps"], guide=guide,
        ).tokens  # fmt: skip
        places = [(feature, classifiers[feature].index(label)) for feature, label in wanted]
        return {"label": " and ".join(label for _, label in wanted), "lambda": fluency, **quality(tokens, places)}

    noisy = {}
    for feature, label in SETTINGS["labels"]:
        noisy[feature] = classifier_for(model, feature, seed)
        yield {"what": "classifier", "trained on": "all noise", "feature": feature,
               "accuracy": accuracy(noisy[feature], model, feature)}  # fmt: skip
        for fluency in (None, *SETTINGS["lambdas"]):
            yield {"what": "control", **row([(feature, label)], noisy, fluency)}
    yield {"what": "composition", **row(SETTINGS["labels"], noisy, SETTINGS["lambda"])}
    feature, label = SETTINGS["labels"][-1]
    yield {"what": "one update", **row([(feature, label)], noisy, SETTINGS["lambda"], updates=1)}
    clean = {feature: classifier_for(model, feature, seed, SETTINGS["clean_up_to"])}
    yield {"what": "classifier", "trained on": "clean texts", "feature": feature,
           "accuracy": accuracy(clean[feature], model, feature)}  # fmt: skip
    yield {"what": "clean classifier", **row([(feature, label)], clean, SETTINGS["lambda"])}


def infilling(model: DiffusionLM, seed: int) -> dict:
    """True sentences with some words hidden: one sample against the best of several by minimum Bayes risk."""
    language, n, N = toy_language(), SETTINGS["sources"], SETTINGS["per_source"]
    true = language.sample(n, generator=seeded(500 + seed))
    hidden = torch.rand(true.shape, generator=seeded(600 + seed)).argsort(-1) < SETTINGS["hidden"]
    prompt = true.masked_fill(hidden, model.V).repeat_interleave(N, 0)
    drawn = sample_diffusion_lm(
        model, SETTINGS["T"], prompt.shape, prompt, generator=seeded(700 + seed), steps=SETTINGS["steps"]
    ).tokens.view(n, N, -1)

    def scores(tokens: Int[Tensor, "n L"]) -> dict:
        return {
            "grammatical": language.grammatical(tokens).double().mean().item(),
            "words_right": (tokens == true)[hidden].double().mean().item(),
            "ngram_loss": sum(ngram_loss(torch.stack(pair))[0, 1].item() for pair in zip(tokens, true)) / n,
        }

    return {"one": scores(drawn[:, 0]), "mbr": scores(minimum_bayes_risk(drawn).tokens)}


def lengths(seed: int) -> dict:
    """END and PAD held in place, no classifier: are sentences as long as asked, and how often by themselves?"""
    language = variable_length_language()
    model = trained(language, SETTINGS["length_train_steps"], seed)
    wanted = torch.tensor(SETTINGS["lengths"]).repeat_interleave(SETTINGS["samples"] // len(SETTINGS["lengths"]))
    prompt = length_prompt(language, wanted)

    def drawn(prompt):
        return sample_diffusion_lm(
            model, SETTINGS["T"], (len(wanted), language.length), prompt, generator=seeded(800 + seed),
            steps=SETTINGS["steps"],
        ).tokens  # fmt: skip

    held, free = drawn(prompt), drawn(None)
    return {
        "success": (text_length(language, held) == wanted).double().mean().item(),
        "by_itself": (text_length(language, free) == wanted).double().mean().item(),
        "grammatical": language.grammatical(held).double().mean().item(),
        "grammatical_free": language.grammatical(free).double().mean().item(),
    }


def run(seed: int):
    began = time.perf_counter()
    model = trained(toy_language(), SETTINGS["train_steps"], seed)
    yield {"what": "model", "train_seconds": round(time.perf_counter() - began)}
    yield from control(model, seed)
    yield {"what": "infilling", **infilling(model, seed)}
    yield {"what": "length", **lengths(seed)}


def main() -> None:
    store.over_seeds("guided_control", SETTINGS, SEEDS, run, told)


def told(row: dict) -> str:
    return str({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})


if __name__ == "__main__":
    main()
