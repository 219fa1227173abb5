"""A causal language model becomes a masked one: same logits at first, everybody in sight at the end, and it learns.

The language models are tiny and random, made from the public classes of transformers.
"""

import pytest
import torch
from tiny_pretrained import gpt2, gpt_tokenizer, llama
from transformers import Gemma2Config, Gemma2ForCausalLM, Qwen2Config, Qwen2ForCausalLM

from difflm_core.data.cache import ArchiveError
from difflm_core.models import pretrained
from difflm_core.models.adapted import Adapted, annealed_mask, load_adapted, save_adapted
from difflm_core.objectives import masked_nelbo_by_count
from difflm_core.processes import masked
from difflm_core.samplers import confidence, sample_llada, sample_masked
from difflm_core.training import adapt as adapt_command
from difflm_core.training.adapt import Adaptation, adapt, bound, forget, opening

SIZES = {"vocab_size": 21, "max_position_embeddings": 24, "hidden_size": 16, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}


def qwen2(seed: int = 0) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(Qwen2Config(**SIZES)).eval()


MODELS = {"llama": llama, "gpt2": gpt2, "qwen2": qwen2}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(V: int, rows: int = 4, length: int = 9) -> torch.Tensor:
    return torch.randint(V, (rows, length), generator=seeded())


# --- the mask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_every_fraction_is_its_definition(opened):
    mask = annealed_mask(60, opened, seeded())
    looks_ahead = torch.ones(60, 60, dtype=torch.bool).triu(1)
    assert bool(mask[~looks_ahead].all())
    share, n = mask[looks_ahead].double().mean().item(), int(looks_ahead.sum())
    assert abs(share - opened) <= 4 * (opened * (1 - opened) / n) ** 0.5  # none at 0, all at 1


def test_openings_are_nested():
    masks = [annealed_mask(30, opened, seeded()) for opened in (0.0, 0.2, 0.6, 1.0)]
    for less, more in zip(masks, masks[1:]):
        assert bool((~less | more).all()) and not torch.equal(less, more)


# --- the network ------------------------------------------------------------------------------------------------------


@every_model
def test_closed_and_unmasked_it_is_the_language_model(make):
    lm = make()
    model = Adapted(lm, start=1, opened=0.0)
    x = texts(model.V)
    read = torch.cat([torch.ones(4, 1, dtype=torch.long), x[:, :-1]], 1)
    torch.testing.assert_close(model(x), lm(read).logits, atol=1e-5, rtol=1e-5)


def who_sees_whom(model, x) -> torch.Tensor:
    """(L, L) True where the answer for token q changes with token k."""
    before = model(x)
    seen = []
    for k in range(x.shape[1]):
        other = x.clone()
        other[:, k] = (x[:, k] + 1) % model.V
        seen.append(((model(other) - before).abs().amax(-1) > 1e-6).any(0))
    return torch.stack(seen, 1)


@every_model
def test_opening_lets_everybody_see_everything(make):
    model, x = Adapted(make(), start=0), texts(15)
    L = x.shape[1]
    assert bool(who_sees_whom(model, x).all())  # open by default
    model.opened = 0.0
    assert torch.equal(who_sees_whom(model, x), torch.ones(L, L, dtype=torch.bool).tril(-1))


def test_half_open_stays_the_same_from_call_to_call_and_varies_in_training():
    model, x = Adapted(llama(), start=0, opened=0.5), texts(15)
    assert torch.equal(model(x), model(x))
    closed, open_ = Adapted(llama(), 0, 0.0)(x), Adapted(llama(), 0, 1.0)(x)
    assert not torch.allclose(model(x), closed) and not torch.allclose(model(x), open_)
    model.train()
    assert not torch.allclose(model(x), model(x))


@every_model
def test_the_mask_is_a_row_of_its_own(make):
    lm = make()
    V = lm.config.vocab_size
    model, x = Adapted(lm, start=0), texts(V)
    z = x.clone()
    z[:, 4] = model.mask_id
    assert model.mask_id == model.V == V and model(z).shape == (4, 9, V)  # no output for it
    with torch.no_grad():
        model.mask_row.copy_(lm.get_input_embeddings().weight[3])
    x[:, 4] = 3
    torch.testing.assert_close(model(z), model(x))


def test_models_that_would_not_work_are_refused():
    torch.manual_seed(0)
    capped = Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.01)).eval()
    with pytest.raises(ValueError, match="computes its logits in another way"):
        Adapted(capped, 0)
    deaf = llama()
    forward = deaf.model.forward
    deaf.model.forward = lambda *a, **k: forward(*a, **{**k, "attention_mask": None})
    with pytest.raises(ValueError, match="does not obey the attention mask"):
        Adapted(deaf, 0)
    with pytest.raises(ValueError, match=r"start is one of the tokens 0\.\.20"):
        Adapted(qwen2(), 21)
    with pytest.raises(ValueError, match="length <= 23"):
        Adapted(qwen2(), 0)(texts(21, length=24))
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            Adapted(qwen2(), 0, opened=share)
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            annealed_mask(3, share)


# --- training ---------------------------------------------------------------------------------------------------------


def pairs(V: int, generator: torch.Generator):
    """Every text says one word eight times, so any visible token tells all masked ones."""
    while True:
        yield torch.randint(V, (32, 1), generator=generator).expand(-1, 8).contiguous()


def test_a_tiny_language_model_learns_to_look_both_ways():
    torch.manual_seed(0)
    model = Adapted(qwen2().requires_grad_(True), start=0)
    held_out = [next(pairs(21, seeded(9)))]
    before, words = bound(model, held_out).mean, model.lm.get_input_embeddings().weight.clone()
    losses = adapt(model, pairs(21, seeded()), 150, 1e-2, progress=False)
    after = bound(model, held_out).mean
    best = torch.tensor(21.0).log().item() / 8  # nats per token of this language
    assert len(losses) == 150 and before > 2.5 and best - 1e-6 < after < 0.9
    assert model.opened == 1 and not model.training and not torch.equal(words, model.lm.get_input_embeddings().weight)
    z = torch.full((21, 8), model.V)
    z[:, 7] = torch.arange(21)  # the last word is given: only a model that looks ahead can use it
    filled = sample_masked(model, confidence(8), (21, 8), z, temperature=0).tokens
    assert (filled == z[:, 7:]).double().mean().item() > 0.8


def test_the_same_seed_is_the_same_run():
    runs = [adapt(Adapted(qwen2(), start=0), pairs(21, seeded()), 3, progress=False, seed=s) for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_mask_opens_in_a_line():
    assert [opening(step, 4) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1] and opening(0, 0) == 1
    model, seen = Adapted(qwen2(), 0), []
    trunk = model._trunk
    model._trunk = lambda h: seen.append(model.opened) or trunk(h)
    adapt(model, pairs(21, seeded()), 4, anneal=2, progress=False)
    assert seen == [0, 0.5, 1, 1]


def test_what_is_saved_comes_back(tmp_path, monkeypatch):
    model = Adapted(qwen2(), start=0, opened=0.25)
    adapt(model, pairs(21, seeded()), 2, progress=False)
    model.opened = 0.25
    save_adapted(tmp_path / "kept", model, gpt_tokenizer())
    again, tokenizer = load_adapted(tmp_path / "kept")
    x = texts(21)
    x[:, 3] = model.V
    assert torch.equal(model(x), again(x)) and again.opened == 0.25 and tokenizer.decode([4]) == "a"
    assert all(p.requires_grad for p in again.parameters())


def test_from_scratch_forgets_everything_but_the_shape():
    model, x = Adapted(qwen2(), 0), texts(21)
    before = model(x)
    forget(model, seed=3)
    assert not torch.allclose(before, model(x))
    again = Adapted(qwen2(1), 0)
    forget(again, seed=3)
    assert torch.equal(model(x), again(x))


def test_all_samplers_and_objectives_take_it():
    model = Adapted(llama(), start=0)
    out = sample_llada(model, texts(20, 2, 3), 6, 6, 3, w=0.5)
    assert int(out.tokens.max()) < model.V and out.network_calls.tolist() == [12, 12]
    x = texts(20)
    nats = masked_nelbo_by_count(masked(model.V), model, x, torch.rand(4, generator=seeded()), seeded())
    assert nats.shape == x.shape and bool(torch.isfinite(nats).all())


def test_the_command_tells_before_and_after_and_keeps_the_model(monkeypatch, tmp_path, capsys):
    rows = [torch.randint(21, (2, 8), generator=seeded())]
    monkeypatch.setattr(adapt_command, "load_adapted", lambda source, device: (Adapted(qwen2(), 0), gpt_tokenizer()))
    monkeypatch.setattr(adapt_command, "texts_of", lambda settings, tokenizer: (pairs(21, seeded()), rows))
    chosen = f"--steps 2 --batch-size 2 --length 8 --from-scratch --folder {tmp_path / 'kept'}"
    assert adapt_command.main(chosen.split()) == 0
    said = capsys.readouterr().out
    assert "32 training tokens" in said and "before:" in said and "after:" in said and said.count("\n> ") == 2
    assert (tmp_path / "kept" / "adapted.safetensors").is_file()


def test_settings_are_checked():
    for bad in ({"steps": 0}, {"learning_rate": 0.0}, {"anneal": 1.5}, {"held_out": 0}):
        with pytest.raises(ValueError, match="must be|in \\[0, 1\\]"):
            Adaptation(**bad)


def test_the_default_is_the_packaged_model(monkeypatch):
    def no_archive():
        raise ArchiveError("the packaged SmolLM2 is asked for")

    monkeypatch.setattr(pretrained, "smollm2_folder", no_archive)
    with pytest.raises(ArchiveError, match="packaged SmolLM2"):
        load_adapted()


def test_the_command_says_in_one_sentence_what_failed(capsys, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("Model x could not be loaded: connect and run this again.")

    monkeypatch.setattr(adapt_command, "load_adapted", unreachable)
    assert adapt_command.main(["--source", "x"]) == 1
    assert capsys.readouterr().err == "Stopped: Model x could not be loaded: connect and run this again.\n"
    with pytest.raises(SystemExit) as end:
        adapt_command.main(["--steps", "0"])
    assert end.value.code == 2


def test_an_interrupted_command_has_its_status(capsys, monkeypatch):
    def cut(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapt_command, "load_adapted", cut)
    assert adapt_command.main([]) == 130 and "nothing was written" in capsys.readouterr().err
