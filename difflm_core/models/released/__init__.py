"""Released diffusion language models by name: `load_released("kuleshov-group/mdlm-owt")` gives a `Denoiser`.

Their code is not fetched and not run. Each architecture is written here (or is a class of transformers), and takes the
released weights by their names.
"""

from difflm_core.models.released.catalogue import RELEASED, load_released, released
from difflm_core.models.released.diffusion_gemma import GemmaCanvas
from difflm_core.models.released.dit import ReleasedDiT
from difflm_core.models.released.llada import ReleasedLLaDA
from difflm_core.models.released.memory import NotEnoughMemory

__all__ = [
    "GemmaCanvas",
    "NotEnoughMemory",
    "RELEASED",
    "ReleasedDiT",
    "ReleasedLLaDA",
    "load_released",
    "released",
]
