"""Training: recipes, one loop, checkpoints. `python -m difflm_core.training mdlm-tiny` trains from the command line."""

from difflm_core.training.block_task import Block
from difflm_core.training.checkpoints import load_model, load_tokenizer, save_model
from difflm_core.training.cosmos import train_cosmos
from difflm_core.training.d3pm_task import D3PM
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
from difflm_core.training.latent_diffusion import train_latent_denoiser
from difflm_core.training.ld4lg import pretrain_decoder, pretrain_seq2seq, train_ld4lg
from difflm_core.training.loop import Run, evaluate, train
from difflm_core.training.planner import train_planner, train_planner_denoiser
from difflm_core.training.recipes import RECIPES, Engine, Recipe, Size
from difflm_core.training.sources import (
    HubSentences,
    LocalText,
    PreparedText,
    Shakespeare,
    StreamedText,
    ToyLanguage,
    WikipediaSentences,
)
from difflm_core.training.states import States, corrupted, state_batches, stored_batches
from difflm_core.training.stops import TrainingStopped
from difflm_core.training.tasks import Autoregressive, Masked
from difflm_core.training.tencdm import train_tencdm_decoder, tune_encoder

__all__ = [
    "Autoregressive", "Block", "D3PM", "EmbeddingDiffusion", "Engine", "ErrorReport", "HubSentences", "Hybrid",
    "LocalText", "Masked", "PreparedText", "RECIPES", "Recipe", "Run", "Shakespeare", "Size", "States", "StreamedText",
    "ToyLanguage",
    "TrainingStopped", "Weights", "WikipediaSentences", "corrupted", "error_loss", "evaluate",
    "evaluate_error_predictor", "label_loss", "load_error_predictor", "load_model", "load_tokenizer",
    "one_step_drafts", "pretrain_decoder", "pretrain_seq2seq", "save_model", "state_batches", "stored_batches",
    "train", "train_cosmos", "train_error_predictor", "train_latent_classifier", "train_latent_denoiser",
    "train_ld4lg", "train_planner", "train_planner_denoiser", "train_tencdm_decoder", "tune_encoder",
]  # fmt: skip
