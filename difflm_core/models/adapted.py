"""A pretrained autoregressive language model, turned into a masked diffusion model (as in DiffuGPT and DiffuLLaMA, Gong
et al. 2024, arXiv 2410.17891).

Three things change, and none of the learned weights is thrown away:

- Who sees whom. The causal mask is opened in steps: with `opened` = 0 a position sees what came before it, with 1 it
  sees everything, and in between each pair that looks ahead is allowed with that probability, independently.
- The mask token is one new row of the *input* embedding. No word loses its id, and the head keeps its V outputs, so
  that predicting a mask is impossible, as everywhere in this course. The row starts as the mean of all words.
- The shift stays. A causal model answers for token i + 1 at position i. So the text is read behind a start token (the
  sign that ends a document), and the answer for token i is taken at the position before it.

With nothing masked and `opened` = 0 the logits are those of the language model itself, so adaptation starts from all
that it knows of what follows from the left.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from difflm_core.models.pretrained import load_judge

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def annealed_mask(length: int, opened: float, generator: torch.Generator | None = None) -> Bool[Tensor, "L L"]:
    """True where position q (a row) may see position k: all k <= q, and each k > q with probability `opened`.

    Draws from equal generators are nested: what is open at one fraction is open at every larger one.
    """
    if not 0 <= opened <= 1:
        raise ValueError(f"The opened share of the attention mask lies in [0, 1], got {opened}.")
    return torch.ones(length, length, dtype=torch.bool).tril() | (
        torch.rand(length, length, generator=generator) < opened
    )


class Adapted(nn.Module):
    """A `Denoiser` around a causal language model `lm` of transformers; it takes no time.

    `start` is the id of the token before every text. `opened` may be set at any time. While training, every call draws
    its own opening from `draws`; otherwise the opening is the same in every call. Raises ValueError for a model that
    does not obey an attention mask, or whose logits are more than a matrix times its last state.
    """

    uses_time = False

    def __init__(self, lm: "PreTrainedModel", start: int, opened: float = 1.0):
        super().__init__()
        self.lm, self.start = lm, start
        words = lm.get_input_embeddings().weight
        self.mask_row = nn.Parameter(words.detach().float().mean(0).to(words.dtype))
        self.register_buffer("_opened", torch.zeros((), dtype=torch.float64, device=words.device))
        self.opened, self.draws = opened, torch.Generator().manual_seed(0)
        if not 0 <= start < self.V:
            raise ValueError(f"start is one of the tokens 0..{self.V - 1}, got {start}.")
        self.train(lm.training)
        self._probe()

    @property
    def V(self) -> int:
        return self.lm.get_input_embeddings().weight.shape[0]

    @property
    def mask_id(self) -> int:
        return self.V

    @property
    def length(self) -> int:
        """The longest text that it reads: one token fewer than the language model, which reads the start token too."""
        return (getattr(self.lm.config, "max_position_embeddings", None) or 1_000_000) - 1

    @property
    def opened(self) -> float:
        return self._opened.item()

    @opened.setter
    def opened(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"The opened share of the attention mask lies in [0, 1], got {share}.")
        self._opened.fill_(share)

    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        """The language model's last states, each one position before the token that it speaks of."""
        if z_t.ndim != 2 or z_t.shape[1] > self.length:
            raise ValueError(f"This model reads (batch, length <= {self.length}) token ids, got {tuple(z_t.shape)}.")
        embed = self.lm.get_input_embeddings()
        is_mask = (z_t == self.V)[..., None]
        h = torch.where(is_mask, self.mask_row, embed(z_t.masked_fill(is_mask[..., 0], 0)))  # (B, L, D)
        first = embed(torch.full_like(z_t[:, :1], self.start))
        return self._trunk(torch.cat([first, h], dim=1))[:, :-1]

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.lm.get_output_embeddings()(h)

    def forward(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def _trunk(self, embedded: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        draws = self.draws if self.training else torch.Generator().manual_seed(0)
        seen = annealed_mask(embedded.shape[1], self.opened, draws).to(embedded.device)
        lowest = torch.finfo(embedded.dtype).min
        added = torch.zeros_like(seen, dtype=embedded.dtype).masked_fill(~seen, lowest)  # to the attention scores
        mask = added.expand(len(embedded), 1, -1, -1)
        return self.lm.base_model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state

    @torch.no_grad()
    def _probe(self) -> None:
        """Three tokens through the model: are its logits ours, and does the first see the last when it may?"""
        name, was_training, wanted = type(self.lm).__name__, self.training, self.opened
        self.eval()
        ids = torch.tensor([[0, 1, 2]], device=self.mask_row.device) % self.V
        self.opened = 0.0
        ours = self(ids)
        theirs = self.lm(torch.cat([torch.full_like(ids[:, :1], self.start), ids[:, :-1]], 1), use_cache=False).logits
        self.opened = 1.0
        open_ = self(ids)
        self.opened = wanted
        self.train(was_training)
        if not torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3):
            raise ValueError(f"{name} computes its logits in another way than head times last state: take another one.")
        if torch.allclose(ours[:, 0], open_[:, 0], atol=1e-6):
            raise ValueError(
                f"{name} does not obey the attention mask that it is given: load it with attn_implementation='sdpa', "
                "or take a model with plain attention."
            )


def load_adapted(
    source: str | Path | None = None, device: torch.device | str | None = None
) -> tuple[Adapted, "PreTrainedTokenizerBase"]:
    """(model, tokenizer): SmolLM2-135M-Instruct by default, else any causal language model of the hub by its name, or
    a folder that `save_adapted` or transformers wrote. Ready to be trained, its attention open. Errors: `load_judge`.
    """
    judge = load_judge(source, device)
    model = Adapted(judge.model.requires_grad_(True), judge.start)
    extra = Path(source) / "adapted.safetensors" if source is not None else None
    if extra is not None and extra.is_file():
        from safetensors.torch import load_file

        kept = load_file(extra, device=str(judge.model.device))
        model.mask_row.data.copy_(kept["mask_row"])
        model.opened = kept["opened"].item()
    return model, judge.tokenizer


def save_adapted(folder: str | Path, model: Adapted, tokenizer: "PreTrainedTokenizerBase") -> Path:
    """A folder for `load_adapted`: what transformers writes, and beside it the mask's row and the opened share."""
    from safetensors.torch import save_file

    folder = Path(folder)
    model.lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kept = {"mask_row": model.mask_row.detach().contiguous(), "opened": torch.tensor(model.opened)}
    save_file(kept, folder / "adapted.safetensors")
    return folder
