"""Training: recipes, one loop, checkpoints. `python -m difflm_core.training mdlm-tiny` trains from the command line."""

from difflm_core.training.checkpoints import load_model, load_tokenizer, save_model
from difflm_core.training.diffusion_lm_task import EmbeddingDiffusion
from difflm_core.training.error_predictor import (
    error_loss,
    load_error_predictor,
    one_step_drafts,
    train_error_predictor,
)
from difflm_core.training.error_report import ErrorReport, evaluate_error_predictor
from difflm_core.training.hybrid_task import Hybrid, Weights
from difflm_core.training.latent_classifier import label_loss, train_latent_classifier
from difflm_core.training.loop import Run, evaluate, train
from difflm_core.training.recipes import RECIPES, Recipe, Size
from difflm_core.training.sources import HubSentences, LocalText, Shakespeare, ToyLanguage, WikipediaSentences
from difflm_core.training.stops import TrainingStopped
from difflm_core.training.tasks import Autoregressive, Masked

__all__ = [
    "Autoregressive", "EmbeddingDiffusion", "ErrorReport", "HubSentences", "Hybrid", "LocalText", "Masked", "RECIPES",
    "Recipe", "Run", "Shakespeare", "Size", "ToyLanguage", "TrainingStopped", "Weights", "WikipediaSentences",
    "error_loss", "evaluate", "evaluate_error_predictor", "label_loss", "load_error_predictor", "load_model",
    "load_tokenizer", "one_step_drafts", "save_model", "train", "train_error_predictor", "train_latent_classifier",
]  # fmt: skip
