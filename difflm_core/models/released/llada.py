"""LLaDA (Nie et al. 2025): the layers of Llama, everybody sees everybody, no time, no shift.

The released weights name the layers in their own way, and the mask has an id in the middle of the vocabulary. So the
weights are renamed for transformers' Llama, whose formula is the same, and ids are renumbered: this course's ids leave
the mask out, and put it last.
"""

import re
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# LLaDA's names and Llama's
LAYER = {
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
OUTSIDE = {"wte": "model.embed_tokens", "ln_f": "model.norm", "ff_out": "lm_head"}
NOT_HERE = ("include_bias", "include_qkv_bias", "attention_layer_norm", "input_emb_norm", "scale_logits", "alibi")


def llama_config(config: Mapping):
    """Llama's configuration from the `config.json` of a LLaDA model. ValueError for a variant that Llama is not."""
    from transformers import LlamaConfig

    odd = [name for name in NOT_HERE if config.get(name)]
    if odd or config.get("block_type", "llama") != "llama" or config.get("activation_type", "silu") != "silu":
        raise ValueError(f"This LLaDA is not Llama's formula ({', '.join(odd) or 'other blocks'}): it cannot be taken.")
    return LlamaConfig(
        vocab_size=config.get("embedding_size") or config["vocab_size"],
        hidden_size=config["d_model"],
        num_hidden_layers=config["n_layers"],
        num_attention_heads=config["n_heads"],
        num_key_value_heads=config.get("n_kv_heads") or config["n_heads"],
        intermediate_size=config["mlp_hidden_size"],
        max_position_embeddings=config["max_sequence_length"],
        rms_norm_eps=config.get("rms_norm_eps", 1e-5),
        rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
        tie_word_embeddings=bool(config.get("weight_tying", False)),
    )


def llama_name(name: str) -> str:
    """model.transformer.blocks.3.attn_out.weight -> model.layers.3.self_attn.o_proj.weight. ValueError for others."""
    inside = re.fullmatch(r"(?:model\.)?transformer\.blocks\.(\d+)\.(\w+)\.weight", name)
    if inside and inside[2] in LAYER:
        return f"model.layers.{inside[1]}.{LAYER[inside[2]]}.weight"
    outside = re.fullmatch(r"(?:model\.)?transformer\.(\w+)\.weight", name)
    if outside and outside[1] in OUTSIDE:
        return f"{OUTSIDE[outside[1]]}.weight"
    raise ValueError(f"{name} is no weight of a LLaDA with Llama's layers.")


class ReleasedLLaDA(nn.Module):
    """A `Denoiser` with V = all released ids but the mask. `ours` and `theirs` renumber ids; the released tokenizer
    speaks theirs.
    """

    uses_time = False

    def __init__(self, llama, mask: int):
        super().__init__()
        rows = llama.config.vocab_size
        if not 0 <= mask < rows:
            raise ValueError(f"The mask's id is one of 0..{rows - 1}, got {mask}.")
        self.llama, self.mask, self.V = llama, mask, rows - 1

    @property
    def mask_id(self) -> int:
        return self.V

    @property
    def length(self) -> int:
        return self.llama.config.max_position_embeddings

    def ours(self, ids: Int[Tensor, "*N"]) -> Int[Tensor, "*N"]:
        """From released ids: those after the mask move down by one, the mask becomes V."""
        return torch.where(ids == self.mask, self.V, ids - (ids > self.mask).long())

    def theirs(self, ids: Int[Tensor, "*N"]) -> Int[Tensor, "*N"]:
        """To released ids: the inverse of `ours`."""
        return torch.where(ids == self.V, self.mask, ids + (ids >= self.mask).long())

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        if z_t.ndim != 2 or z_t.shape[1] > self.length:
            raise ValueError(f"This model reads (batch, length <= {self.length}) token ids, got {tuple(z_t.shape)}.")
        B, L = z_t.shape
        nothing_hidden = torch.zeros(B, 1, L, L, dtype=self.llama.dtype, device=z_t.device)  # added to the scores
        return self.llama.model(
            input_ids=self.theirs(z_t), attention_mask=nothing_hidden, use_cache=False
        ).last_hidden_state

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        every = self.llama.lm_head(h)
        return torch.cat([every[..., : self.mask], every[..., self.mask + 1 :]], dim=-1)

    def forward(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))


def llada_from(weights: Mapping[str, Tensor], config: Mapping) -> ReleasedLLaDA:
    """The network of these weights, in their dtype. Raises ValueError where names, shapes or settings are others."""
    from transformers import LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    renamed = {llama_name(name): value for name, value in weights.items()}
    llama_settings = llama_config(config)
    if llama_settings.tie_word_embeddings:
        renamed.setdefault("lm_head.weight", renamed["model.embed_tokens.weight"])
    with torch.device("meta"):  # no second copy of 16 GB
        llama = LlamaForCausalLM(llama_settings)
    try:
        llama.load_state_dict(renamed, assign=True)
    except RuntimeError as error:
        raise ValueError(f"These weights do not fit: {error}") from error
    llama.model.rotary_emb = LlamaRotaryEmbedding(llama_settings)
    return ReleasedLLaDA(llama.requires_grad_(False).eval(), config["mask_token_id"])
