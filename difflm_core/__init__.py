"""The small package under the course on diffusion language models.

Its rooms follow the order in which data walks: `data` turns text into token ids, `processes` make them noisy, `models`
guess the clean ones, `objectives` score the guess in nats per token, `samplers` write new text, `training` and
`evaluation` run these on one CPU or many GPUs, `oracle` knows the exact answers for a toy language, `studies` compare
variants, and `classroom` serves the lessons.
"""

__version__ = "0.1.0"
