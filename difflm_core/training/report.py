"""What a finished run is told: its bound against the truth, and samples with few and many network calls."""

import torch

from difflm_core.data.tokenizers import END_OF_TEXT
from difflm_core.data.toy_language import broken_rules, toy_language
from difflm_core.evaluation import estimate_nelbo, judge_samples
from difflm_core.models import Transformer
from difflm_core.training.loop import evaluate
from difflm_core.training.recipe import Recipe
from difflm_core.training.sources import ToyLanguage


def report(recipe: Recipe, model: Transformer) -> None:
    if isinstance(recipe.data, ToyLanguage):
        report_toy(recipe, model)
    else:
        report_corpus(recipe, model)


def report_toy(recipe: Recipe, model: Transformer, sentences: int = 1000) -> None:
    """The bound on fresh sentences against the entropy, and against the exact -log p of the very same sentences, which
    removes their luck.
    """
    language = toy_language()
    generator = torch.Generator().manual_seed(99)
    fresh = list(language.sample(8192, generator=generator).split(512))
    estimate = estimate_nelbo(lambda x, t, g: recipe.task.nelbo(model, x, t, g), fresh, 8, generator)
    exact = -sum(language.log_prob(x).sum().item() for x in fresh) / estimate.tokens
    entropy = language.entropy() / language.length
    name = "nll  " if recipe.task.exact else "bound"
    print(f"\n{name}          {estimate}")
    print(
        f"exact -log p   {exact:.4f} nats/token for the same sentences: the model pays "
        f"{100 * (estimate.mean / exact - 1):+.2f} % (± {100 * estimate.standard_error / exact:.2f})"
    )
    print(f"entropy        {entropy:.4f} nats/token, the mean of exact -log p over the whole language")
    print(f"\nsamples (a star marks a broken sentence; counted over {sentences:,} by the exact grammar):")
    for label, sample in recipe.task.samplers(model, (sentences, language.length), generator):
        tokens = sample.tokens
        broken = ~language.grammatical(tokens)
        calls = sample.network_calls.float().mean().item()
        print(
            f"\n{label}: {calls:.1f} network calls, {100 * broken.float().mean().item():.1f} % broken, "
            f"{judge_samples(tokens, language.log_prob)}"
        )
        rules = ", ".join(
            f"{rule} {100 * hit.float().mean().item():.1f} %" for rule, hit in broken_rules(language, tokens).items()
        )
        print(f"  what broke: {rules}")
        for row in range(4):
            print(f"  {'*' if broken[row] else ' '} {language.decode(tokens[row])}")


def report_corpus(recipe: Recipe, model: Transformer) -> None:
    """The bound on held-out text, also in bits per character, and a few samples."""
    estimate = evaluate(recipe, model, draws=8)
    characters = sum(characters_of(recipe.data.decode(row)) for x in recipe.data.evaluation() for row in x)
    per_character = estimate.bits * estimate.tokens / characters
    print(
        f"\n{'nll' if recipe.task.exact else 'bound'}   {estimate}, perplexity per token "
        f"{estimate.perplexity:.1f}, {per_character:.3f} bits per character, on held-out text"
    )
    sample = recipe.task.sample(model, (3, model.length), torch.Generator().manual_seed(99))
    for row in sample.tokens:
        print("\n" + recipe.data.decode(row))


def characters_of(text: str) -> int:
    """The end of a document counts as one character, as the line break does in a character vocabulary."""
    return len(text.replace(END_OF_TEXT, "\n"))
