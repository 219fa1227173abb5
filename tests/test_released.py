"""Released models without a download: each architecture is built small, with random weights under the released names,
and compared with its formula written out again here, or with the public class.
"""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

from difflm_core.models.released import (
    RELEASED,
    GemmaCanvas,
    NotEnoughMemory,
    ReleasedDiT,
    catalogue,
    load_released,
    memory,
    released,
)
from difflm_core.models.released.dit import dit_from
from difflm_core.models.released.llada import llada_from, llama_config
from difflm_core.processes import masked, uniform
from difflm_core.samplers import confidence, sample_entropy_bound, sample_llada, sample_masked


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randoms(shapes: dict[str, tuple], seed: int = 0) -> dict[str, torch.Tensor]:
    g = seeded(seed)
    return {name: 0.3 * torch.randn(*shape, generator=g) for name, shape in shapes.items()}


def turned(x: torch.Tensor, theta: float) -> torch.Tensor:
    """RoPE as a turn in the complex plane: pairs (k, k + half), (B, L, H, D)."""
    half = x.shape[-1] // 2
    angle = torch.outer(torch.arange(x.shape[1]).double(), theta ** (-torch.arange(half).double() / half))
    z = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)[None, :, None]
    return torch.cat([z.real, z.imag], -1)


def attended(q, k, v):
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)


# --- MDLM and GIDD ----------------------------------------------------------------------------------------------------

V, D, C, LAYERS, L = 11, 128, 6, 2, 7


def dit_weights(rows: int, before: str = "") -> dict[str, torch.Tensor]:
    shapes = {"vocab_embed.embedding": (rows, D), "output_layer.norm_final.weight": (D,)}
    shapes |= {"sigma_map.mlp.0.weight": (C, 256), "sigma_map.mlp.0.bias": (C,)}
    shapes |= {"sigma_map.mlp.2.weight": (C, C), "sigma_map.mlp.2.bias": (C,)}
    shapes |= {"output_layer.linear.weight": (rows, D), "output_layer.linear.bias": (rows,)}
    shapes |= {"output_layer.adaLN_modulation.weight": (2 * D, C), "output_layer.adaLN_modulation.bias": (2 * D,)}
    for i in range(LAYERS):
        layer = {"norm1.weight": (D,), "attn_qkv.weight": (3 * D, D), "attn_out.weight": (D, D), "norm2.weight": (D,)}
        layer |= {"mlp.0.weight": (4 * D, D), "mlp.0.bias": (4 * D,), "mlp.2.weight": (D, 4 * D), "mlp.2.bias": (D,)}
        layer |= {"adaLN_modulation.weight": (6 * D, C), "adaLN_modulation.bias": (6 * D,)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in layer.items()}
    return {before + name: value for name, value in randoms(shapes).items()}


def dit_by_hand(w: dict, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """All released logits in float64, mask and filling too."""
    w = {name: value.double() for name, value in w.items()}
    linear = lambda x, name: x @ w[name + ".weight"].T + w.get(name + ".bias", 0)  # noqa: E731

    def norm(x, name):
        middle, spread = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        return (x - middle) / (spread + 1e-5).sqrt() * w[name]

    phase = t.double()[:, None] * 10_000 ** (-torch.arange(128).double() / 128)
    c = linear(F.silu(linear(torch.cat([phase.cos(), phase.sin()], 1), "sigma_map.mlp.0")), "sigma_map.mlp.2")
    c = F.silu(c)
    h = w["vocab_embed.embedding"][z]
    for i in range(LAYERS):
        b = f"blocks.{i}."
        shift1, scale1, gate1, shift2, scale2, gate2 = linear(c, b + "adaLN_modulation")[:, None].split(D, -1)
        q, k, v = linear(norm(h, b + "norm1.weight") * (1 + scale1) + shift1, b + "attn_qkv").split(D, -1)
        q, k, v = (part.unflatten(-1, (D // 64, 64)) for part in (q, k, v))
        h = h + gate1 * linear(attended(turned(q, 10_000), turned(k, 10_000), v), b + "attn_out")
        inner = linear(norm(h, b + "norm2.weight") * (1 + scale2) + shift2, b + "mlp.0")
        h = h + gate2 * linear(F.gelu(inner, approximate="tanh"), b + "mlp.2")
    shift, scale = linear(c, "output_layer.adaLN_modulation")[:, None].split(D, -1)
    return linear(norm(h, "output_layer.norm_final.weight") * (1 + scale) + shift, "output_layer.linear")


@pytest.mark.parametrize("rows, uses_time, before", [(V + 1, False, "backbone."), (V + 5, True, "model.")])
def test_the_dit_is_its_formula(rows, uses_time, before):
    weights = dit_weights(rows, before)
    extra = {before + "rotary_emb.inv_freq": torch.ones(3), before + "logit_bias": torch.zeros(1, 1, 1)}
    model = dit_from(weights | extra, V, 16, uses_time)
    z, t = torch.randint(V + 1, (3, L), generator=seeded()), torch.rand(3, generator=seeded())
    own = {name.removeprefix(before): value for name, value in weights.items()}
    expected = dit_by_hand(own, z, t if uses_time else torch.zeros(3))[..., :V]
    torch.testing.assert_close(model(z, t).double(), expected, atol=1e-3, rtol=1e-3)
    assert model.mask_id == model.V == V and model(z, t).shape == (3, L, V)
    assert uses_time != torch.equal(model(z, t), model(z, 1 - t))  # MDLM's is shown 0, whatever the time


def test_weights_that_do_not_fit_are_named():
    weights = dit_weights(V + 1)
    with pytest.raises(ValueError, match="no DiT of MDLM or GIDD"):
        dit_from({"lm_head.weight": torch.ones(1)}, V, 16, False)
    with pytest.raises(ValueError, match="Missing key.*norm1"):
        dit_from({name: w for name, w in weights.items() if "norm1" not in name}, V, 16, False)
    with pytest.raises(ValueError, match="logit_bias of"):
        dit_from(weights | {"logit_bias": torch.full((1, 1, 1), 0.5)}, V, 16, False)
    with pytest.raises(ValueError, match="more rows than words"):
        dit_from(weights, V + 1, 16, False)
    with pytest.raises(ValueError, match="length <= 16"):
        dit_from(weights, V, 16, False).hidden(torch.zeros(1, 17, dtype=torch.long))
    with pytest.raises(ValueError, match="conditioned on time"):
        dit_from(weights, V, 16, True).hidden(torch.zeros(1, 4, dtype=torch.long))


# --- LLaDA ------------------------------------------------------------------------------------------------------------

LLADA = {"d_model": 16, "n_heads": 2, "n_kv_heads": 2, "n_layers": 2, "mlp_hidden_size": 24, "max_sequence_length": 32}
LLADA |= {"vocab_size": 12, "embedding_size": 12, "rope_theta": 500_000.0, "rms_norm_eps": 1e-5, "mask_token_id": 9}
LLADA |= {"block_type": "llama", "activation_type": "silu", "include_bias": False, "weight_tying": False}


def llada_weights() -> dict[str, torch.Tensor]:
    shapes = {"wte": (12, 16), "ln_f": (16,), "ff_out": (12, 16)}
    for i in range(2):
        layer = {name: (16, 16) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        layer |= {"attn_norm": (16,), "ff_norm": (16,), "ff_proj": (24, 16), "up_proj": (24, 16), "ff_out": (16, 24)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in layer.items()}
    return randoms({f"model.transformer.{name}.weight": shape for name, shape in shapes.items()})


def llada_by_hand(weights: dict, z: torch.Tensor) -> torch.Tensor:
    """Released ids to released logits, in float64."""
    w = {name[len("model.transformer.") : -len(".weight")]: value.double() for name, value in weights.items()}
    norm = lambda x, name: x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[name]  # noqa: E731
    h = w["wte"][z]
    for i in range(2):
        b = f"blocks.{i}."
        x = norm(h, b + "attn_norm")
        q, k, v = ((x @ w[b + name].T).unflatten(-1, (2, 8)) for name in ("q_proj", "k_proj", "v_proj"))
        h = h + attended(turned(q, 500_000.0), turned(k, 500_000.0), v) @ w[b + "attn_out"].T
        x = norm(h, b + "ff_norm")
        h = h + (F.silu(x @ w[b + "ff_proj"].T) * (x @ w[b + "up_proj"].T)) @ w[b + "ff_out"].T
    return norm(h, "ln_f") @ w["ff_out"].T


def test_llada_is_its_formula_with_the_mask_put_last():
    model = llada_from(llada_weights(), LLADA)
    theirs = torch.randint(12, (4, 7), generator=seeded())
    z = model.ours(theirs)
    expected = llada_by_hand(llada_weights(), theirs)
    kept = [i for i in range(12) if i != 9]
    torch.testing.assert_close(model(z).double(), expected[..., kept], atol=1e-4, rtol=1e-4)
    assert model.V == 11 and model.length == 32


def test_ids_are_renumbered_and_back():
    model, every = llada_from(llada_weights(), LLADA), torch.arange(12)
    assert torch.equal(model.theirs(model.ours(every)), every) and torch.equal(model.ours(model.theirs(every)), every)
    assert int(model.ours(torch.tensor(9))) == model.V == model.mask_id
    assert model.ours(torch.tensor([8, 10, 11])).tolist() == [8, 9, 10]


def test_our_samplers_take_it():
    model = llada_from(llada_weights(), LLADA)
    out = sample_llada(model, model.ours(torch.tensor([[1, 2, 11]])), 8, 4, 4)
    assert 9 not in model.theirs(out.tokens) and model.theirs(out.tokens)[0, :3].tolist() == [1, 2, 11]


@pytest.mark.parametrize("change, message", [
    ({"include_bias": True}, "include_bias"), ({"block_type": "sequential"}, "other blocks"),
    ({"attention_layer_norm": True}, "attention_layer_norm"),
])  # fmt: skip
def test_other_llamas_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        llama_config(LLADA | change)


def test_weights_under_other_names_are_refused():
    with pytest.raises(ValueError, match="no weight of a LLaDA"):
        llada_from(llada_weights() | {"model.transformer.blocks.0.att_proj.weight": torch.ones(1)}, LLADA)
    with pytest.raises(ValueError, match="do not fit"):
        llada_from({name: w for name, w in llada_weights().items() if "ln_f" not in name}, LLADA)


# --- DiffusionGemma ---------------------------------------------------------------------------------------------------

gemma = pytest.importorskip("transformers.models.diffusion_gemma")


@pytest.fixture(scope="module")
def tiny_gemma():
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, DiffusionGemmaTextConfig

    text = DiffusionGemmaTextConfig(
        vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, global_head_dim=8, num_experts=4, top_k_experts=2,
        moe_intermediate_size=16, sliding_window=16, layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    vision = {"model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    ids = {"boi_token_id": 37, "eoi_token_id": 38, "image_token_id": 39}
    torch.manual_seed(0)
    model = DiffusionGemmaForBlockDiffusion(
        DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=6, **ids)
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.3 * torch.randn_like(weight))
    return model.requires_grad_(False)


PROMPT = torch.tensor([3, 1, 4, 1, 5])


def test_the_canvas_answers_as_the_public_class_does(tiny_gemma):
    canvas = GemmaCanvas(tiny_gemma, PROMPT)
    for rows in (3, 1, 3, 2):  # the cache of the prompt serves any number of rows, again and again
        z = torch.randint(37, (rows, 6), generator=seeded(rows))
        theirs = tiny_gemma(input_ids=PROMPT.expand(rows, -1), decoder_input_ids=z).logits
        torch.testing.assert_close(canvas(z), theirs, atol=1e-5, rtol=1e-5)
    assert canvas.V == 40 and canvas.length == 6


def test_the_second_pass_is_self_conditioning(tiny_gemma):
    z = torch.randint(37, (2, 6), generator=seeded())
    first = GemmaCanvas(tiny_gemma, PROMPT)(z)
    prompt = PROMPT.expand(2, -1)
    theirs = tiny_gemma(input_ids=prompt, decoder_input_ids=z, self_conditioning_logits=first).logits
    torch.testing.assert_close(GemmaCanvas(tiny_gemma, PROMPT, passes=2)(z), theirs, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(first, theirs, atol=1e-3)


def test_the_entropy_bound_sampler_takes_it(tiny_gemma):
    canvas = GemmaCanvas(tiny_gemma, PROMPT)
    out = sample_entropy_bound(uniform(40), canvas, (2, 6), 0.5, 5, generator=seeded())
    assert int(out.tokens.max()) < 40 and int(out.network_calls.max()) <= 5


@pytest.mark.parametrize("call, message", [
    (lambda m: GemmaCanvas(m, PROMPT[None]), "one row"), (lambda m: GemmaCanvas(m, PROMPT, 3), "One pass, or two"),
    (lambda m: GemmaCanvas(m, PROMPT + 40), r"0\.\.39"),
    (lambda m: GemmaCanvas(m, PROMPT)(torch.full((1, 6), 40)), "has no mask"),
    (lambda m: GemmaCanvas(m, PROMPT)(torch.zeros(1, 7, dtype=torch.long)), "length <= 6"),
])  # fmt: skip
def test_bad_canvases_are_refused(tiny_gemma, call, message):
    with pytest.raises(ValueError, match=message):
        call(tiny_gemma)


# --- by name ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(memory, "counted", lambda repo: None)


def written(folder, weights: dict, config: dict):
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_becomes_a_denoiser(tmp_path, monkeypatch, offline):
    monkeypatch.setattr(catalogue, "GPT2_WORDS", V)
    mdlm = load_released("kuleshov-group/mdlm-owt", written(tmp_path / "m", dit_weights(V + 1, "backbone."), {
        "model_length": 16, "time_conditioning": False}))  # fmt: skip
    gidd = load_released("dvruette/gidd-small-p_unif-0.1", written(tmp_path / "g", dit_weights(V + 5), {}))
    assert (mdlm.length, mdlm.uses_time, gidd.length, gidd.uses_time) == (16, False, 512, True)
    for model in (mdlm, gidd):
        assert not any(p.requires_grad for p in model.parameters())
        out = sample_masked(model, confidence(3), (2, 6), generator=seeded())
        assert int(out.tokens.max()) < masked(V).mask_id
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**11)
    llada = load_released("GSAI-ML/LLaDA-8B-Base", written(tmp_path / "l", llada_weights(), LLADA))
    assert llada.V == 11 and llada.llama.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="no config.json"):
        (tmp_path / "empty").mkdir()
        load_released("kuleshov-group/mdlm-owt", tmp_path / "empty")


@pytest.mark.parametrize("wrong, near", [
    ("kuleshov-group/mdlm-own", "kuleshov-group/mdlm-owt"), ("mdlm", "kuleshov-group/mdlm-owt"),
    ("GSAI-ML/LLaDA-8B", "GSAI-ML/LLaDA-8B-Base"), ("gidd-base-p_unif-0.2", "dvruette/gidd-base-p_unif-0.2"),
    ("diffusiongemma", "google/diffusiongemma-26B-A4B-it"),
])  # fmt: skip
def test_unknown_names_meet_their_neighbours(wrong, near):
    with pytest.raises(ValueError, match=f"no released model '{wrong}'.*{near}"):
        released(wrong)
    with pytest.raises(ValueError, match="nearest"):
        load_released("")


def test_too_large_is_said_before_anything_is_fetched(monkeypatch, offline):
    monkeypatch.setattr(memory, "free_memory", lambda device: 8 * 10**9)
    monkeypatch.setattr(catalogue, "fetch", lambda *a: pytest.fail("fetched"))
    said = []
    with pytest.raises(NotEnoughMemory, match=r"needs 17.6 GB .* has 8 GB free: take kuleshov-group/mdlm-owt"):
        load_released("GSAI-ML/LLaDA-8B-Base", say=said.append)
    assert "8.02 billion parameters, 16 GB to download (by the published size), 16 GB of memory" in said[0]
    with pytest.raises(NotEnoughMemory, match="55.4 GB.*take GSAI-ML/LLaDA-8B-Instruct"):
        load_released("google/diffusiongemma-26B-A4B-it", say=said.append)
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**6)
    with pytest.raises(NotEnoughMemory, match="take mdlm-shakespeare, a course checkpoint"):
        load_released("kuleshov-group/mdlm-owt", say=said.append)


def test_the_files_count_where_the_hub_answers(monkeypatch):
    class Found:
        parameter_count = {"BF16": 10, "F32": 2}

    monkeypatch.setattr("huggingface_hub.get_safetensors_metadata", lambda repo: Found)
    need = memory.need_of("any", 99, 4, torch.float32)
    assert need == memory.Need(12, 48, 28, True) and "as its files say" in str(need)

    for error in unreachable():

        def silent(repo, error=error):
            raise error

        monkeypatch.setattr("huggingface_hub.get_safetensors_metadata", silent)
        assert memory.need_of("any", 99, 4, torch.bfloat16) == memory.Need(99, 198, 396, False)


def unreachable() -> list[Exception]:
    """No network, as Python says it and as the HTTP library of the hub's client does."""
    from huggingface_hub.errors import HTTPError

    return [OSError("no network"), type("ConnectError", (HTTPError,), {})("Name or service not known")]


def test_no_code_is_fetched(monkeypatch, offline, tmp_path):
    from fnmatch import fnmatch

    asked = {}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **how: asked.update(how) or str(tmp_path))
    catalogue.fetch("any", memory.Need(1, 1, 1, False))
    assert not any(fnmatch("modeling_mdlm.py", pattern) for pattern in asked["allow_patterns"])
    assert "trust_remote_code" not in asked

    for error in unreachable():

        def silent(name, error=error, **how):
            raise error

        monkeypatch.setattr("huggingface_hub.snapshot_download", silent)
        with pytest.raises(ConnectionError, match="could not be fetched.*give the folder"):
            catalogue.fetch("any", memory.Need(1, 1, 1, False))
    with pytest.raises(NotEnoughMemory, match="download of 1e\\+09 GB"):
        catalogue.fetch("any", memory.Need(1, 1, 10**18, False))


def test_the_stored_sizes_are_those_of_the_architectures():
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    eight = {"d_model": 4096, "n_layers": 32, "n_heads": 32, "mlp_hidden_size": 12288, "vocab_size": 126464}
    with torch.device("meta"):
        sizes = {
            "kuleshov-group/mdlm-owt": count(ReleasedDiT(50257, 50258, 1024, 768, 12)),
            "dvruette/gidd-small-p_unif-0.0": count(ReleasedDiT(50257, 50304, 512, 768, 12)),
            "dvruette/gidd-base-p_unif-0.0": count(ReleasedDiT(50257, 50304, 512, 1024, 24)),
            "GSAI-ML/LLaDA-8B-Base": count(LlamaForCausalLM(llama_config(
                eight | {"max_sequence_length": 4096, "rope_theta": 5e5}))),
        }  # fmt: skip
    assert sizes == {name: RELEASED[name].parameters for name in sizes}
