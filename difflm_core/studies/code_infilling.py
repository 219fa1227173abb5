"""Are diffusion models good at code? At this size, measured: functions of Python's standard library, over seeds.

Masked diffusion and its autoregressive twin read the same functions for the same number of steps; whole modules are
held out. Then each writes:

- a body from its head, one token a call: does the function parse, and does its definition run?
- one missing line of a body: the masked network sees both sides, its twin the left one only (the number of tokens of
  the line is given to both): is it the line that stood there, does the function parse?

What parses may still be nonsense, so the course's `PROBLEMS`, which have checks, are asked too; networks of this size
are not expected to solve one. About 25 minutes on one core.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from torch import Tensor

from difflm_core.data.code_corpus import completed, holes, infilling_rows, parses
from difflm_core.data.tokenizers import encode
from difflm_core.evaluation.code import PROBLEMS, code_report, run_code
from difflm_core.models import Transformer
from difflm_core.objectives import autoregressive_nll, masked_nelbo, stratified_times
from difflm_core.processes import masked
from difflm_core.samplers import in_random_order, sample_ar, sample_masked
from difflm_core.studies import store
from difflm_core.training import Size
from difflm_core.training.code_source import PythonFunctions
from difflm_core.training.descend import descend
from difflm_core.training.tasks import transformer

SETTINGS = {"length": 96, "bpe": 512, "longest": 200, "steps": 1000, "batch_size": 32, "learning_rate": 3e-3}
SETTINGS |= {"width": 96, "layers": 3, "functions": 100, "lines": 100}
SEEDS = (0, 1, 2)


def source() -> PythonFunctions:
    return PythonFunctions(length=SETTINGS["length"], bpe=SETTINGS["bpe"], longest=SETTINGS["longest"])


def learn(causal: bool, seed: int) -> Transformer:
    torch.manual_seed(seed)
    data, g = source(), torch.Generator().manual_seed(seed)
    model = transformer(data.V, data.length, Size(SETTINGS["width"], SETTINGS["layers"], 4), causal)

    def loss(x):
        if causal:
            return autoregressive_nll(model, x).mean()
        return masked_nelbo(masked(data.V), model, x, stratified_times(len(x), g), g).mean()

    batches = data.train(SETTINGS["batch_size"], torch.Generator().manual_seed(seed))
    descend(model, loss, batches, SETTINGS["steps"], SETTINGS["learning_rate"], "code", False, 0.99)
    return model


def written(
    model: Transformer, x: Int[Tensor, "B L"], asked: Bool[Tensor, "B L"], generator: torch.Generator
) -> Int[Tensor, "B L"]:
    """The asked tokens of each row written, one a call: in random order, or from left to right up to the last asked."""
    if not model.config.causal:
        canvas, T = x.masked_fill(asked, model.V), int(asked.sum(1).max())
        return sample_masked(model, in_random_order(T), tuple(x.shape), canvas, generator).tokens
    rows = []
    for row, where in zip(x, asked):
        start, end = int(where.nonzero()[0]), int(where.nonzero()[-1]) + 1
        out = sample_ar(model, (1, end), row[None, :start], generator).tokens[0]
        rows.append(torch.where(where, torch.cat([out, row[end:]]), row))
    return torch.stack(rows)


def bodies(model: Transformer, tokenizer: Tokenizer, functions: list[dict], generator: torch.Generator) -> dict:
    x, asked = infilling_rows(*columns(functions), tokenizer, SETTINGS["length"], 0)
    codes = [completed(tokenizer, row, 0) for row in written(model, x, asked, generator)]
    report = code_report(codes, [[]] * len(codes))
    heads, checks = zip(*PROBLEMS)
    x, asked = infilling_rows(list(heads), [""] * len(heads), tokenizer, SETTINGS["length"], 0)
    answers = [completed(tokenizer, row, 0) for row in written(model, x, asked, generator)]
    right = sum(run_code(code, check).right for code, check in zip(answers, checks)) / len(heads)
    same = sum(code == f["text"] for code, f in zip(codes, functions)) / len(codes)
    return {"parse": report.parse, "run": report.run, "same": same, "problems_right": right}


def lines(model: Transformer, tokenizer: Tokenizer, functions: list[dict], generator: torch.Generator) -> dict:
    """One line of each body, cut out at token borders: the three pieces are encoded apart."""
    x, asked = missing_lines(tokenizer, functions, SETTINGS["length"], generator)
    out = written(model, x, asked, generator)
    codes = [completed(tokenizer, row, 0) for row in out]
    return {
        "parse": sum(map(parses, codes)) / len(codes),
        "same": (out == x).all(1).double().mean().item(),
        "tokens_same": (out == x)[asked].double().mean().item(),
    }


def missing_lines(
    tokenizer: Tokenizer, functions: list[dict], length: int, generator: torch.Generator
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """(rows, where the missing line stands); functions that would not fit are left out."""
    rows, places = [], []
    for function in functions:
        before, line, after = (encode(tokenizer, text, None) for text in holes(function["body"], generator))
        start = torch.cat([encode(tokenizer, function["head"], None), before])
        ids = torch.cat([start, line, after])
        if len(ids) < length:
            rows.append(torch.cat([ids, torch.zeros(length - len(ids), dtype=torch.long)]))
            places.append((torch.arange(length) >= len(start)) & (torch.arange(length) < len(start) + len(line)))
    return torch.stack(rows), torch.stack(places)


def columns(functions: list[dict]) -> tuple[list[str], list[str]]:
    return [f["head"] for f in functions], [f["body"] for f in functions]


def fitting(functions: list[dict], tokenizer: Tokenizer, count: int) -> list[dict]:
    """The first `count` that fit on the canvas with an end token."""
    size = lambda f: len(encode(tokenizer, f["head"], None)) + len(encode(tokenizer, f["body"], None))  # noqa: E731
    return [f for f in functions if size(f) < SETTINGS["length"]][:count]


def run(seed: int) -> Iterator[dict]:
    tokenizer = source().tokenizer()
    held_out = source().texts()[1].shuffle(seed=seed).to_list()
    for causal in (False, True):
        model, g = learn(causal, seed), torch.Generator().manual_seed(seed)
        name = "autoregressive" if causal else "masked"
        few = fitting(held_out, tokenizer, SETTINGS["functions"])
        yield {"model": name, "task": "body", **bodies(model, tokenizer, few, g)}
        some = fitting(held_out, tokenizer, SETTINGS["lines"])
        yield {"model": name, "task": "line", **lines(model, tokenizer, some, torch.Generator().manual_seed(seed))}


def told(row: dict) -> str:
    shares = ", ".join(f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float))
    return f"{row['model']}, {row['task']}: {shares}"


def main() -> None:
    store.over_seeds("code_infilling", SETTINGS, SEEDS, run, told)


if __name__ == "__main__":
    main()
