"""DiffusionGemma (Google 2026) behind the course's interface: a uniform process on a canvas behind a prompt.

The model is a class of transformers. Its causal encoder reads the prompt once into a cache, its bidirectional decoder
answers for the canvas. There is no mask token: noise is a random word, so V is the whole vocabulary, the process is
`uniform(V)`, and the sampler made for it is `sample_entropy_bound`.

The released sampler also feeds the last answer back (self-conditioning). A `Denoiser` remembers nothing between calls:
with `passes` = 2 the network answers, sees its own answer to the same canvas, and answers again, at twice the cost.
"""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class GemmaCanvas(nn.Module):
    """A `Denoiser` for canvases of at most `length` tokens, all rows behind the same prompt."""

    uses_time = False

    def __init__(self, model, prompt: Int[Tensor, "P"], passes: int = 1):
        super().__init__()
        if prompt.ndim != 1 or not len(prompt):
            raise ValueError(f"The prompt is one row of at least one token, got shape {tuple(prompt.shape)}.")
        if passes not in (1, 2):
            raise ValueError(f"One pass, or two for self-conditioning; got {passes}.")
        self.model, self.passes = model, passes
        self.V, self.length = model.config.text_config.vocab_size, model.config.canvas_length
        if not 0 <= int(prompt.min()) <= int(prompt.max()) < self.V:
            raise ValueError(f"Prompt ids must lie in 0..{self.V - 1}, got {int(prompt.min())}..{int(prompt.max())}.")
        self._prompt = prompt
        self._caches: dict[int, object] = {}

    @property
    def mask_id(self) -> int:
        """What a sampler writes where nothing stands yet; a uniform process replaces it before the network looks."""
        return self.V

    @torch.no_grad()
    def hidden(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L D"]:
        """The decoder's last states."""
        if z_t.ndim != 2 or z_t.shape[1] > self.length:
            raise ValueError(f"This model reads (batch, length <= {self.length}) token ids, got {tuple(z_t.shape)}.")
        if z_t.numel() and int(z_t.max()) >= self.V:
            raise ValueError("DiffusionGemma has no mask: fill the canvas from `uniform(V)`, as its samplers do.")
        cache, told = self._cache(len(z_t)), None
        for _ in range(self.passes):
            h = self.model.model.decoder(
                decoder_input_ids=z_t, cache=cache, self_conditioning_logits=told
            ).last_hidden_state
            told = self.logits(h) if self.passes == 2 and told is None else told
        return h

    def logits(self, h: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        """The head, its values squeezed into (-c, c) by c tanh(. / c)."""
        c = self.model.final_logit_softcapping
        return c * torch.tanh(self.model.lm_head(h).float() / c)

    def forward(self, z_t: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None = None) -> Float[Tensor, "B L V"]:
        return self.logits(self.hidden(z_t, t))

    def _cache(self, rows: int):
        """Keys and values of the prompt for this many rows. The decoder reads them and adds nothing."""
        if 1 not in self._caches:
            prompt = self._prompt[None].to(self.model.device)
            self._caches[1] = self.model.model.encoder(input_ids=prompt, use_cache=True).cache
        if rows not in self._caches:
            self._caches = {1: self._caches[1], rows: copy.deepcopy(self._caches[1])}
            self._caches[rows].batch_repeat_interleave(rows)
        return self._caches[rows]
