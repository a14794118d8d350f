"""d2lnli: natural language inference by fine-tuning BERT, as a course and as a thin package."""

from .bert import BERTClassifier, BERTConfig, BERTEncoder, BERTModel
from .checkpoints import load_classifier, load_pretrained_model
from .corpora import open_split, read_pairs, read_phenomena, read_snli
from .dataset import SNLIBERTDataset, bucketed_loader
from .devices import get_dataloader_workers, try_all_gpus
from .evaluation import Evaluation, evaluate, paired_difference, proportion
from .exercises import check
from .history import History
from .labels import LABELS
from .layouts.export import export_classifier
from .prediction import (
    attention,
    fill_mask,
    next_sentence_proba,
    predict_proba,
    predict_snli,
    word_changes,
)
from .recipes import Recipe, recipe
from .runs.ranks import process_group
from .show.charts import bar_chart, dot_chart, heat_map, line_chart, padding_chart, show_source
from .show.strips import PairStrip, TruncationStrips
from .store.classifiers import classifier_dir, save_classifier
from .store.datasets import mapped_dataset
from .store.hub import DATA_HUB, DATA_URL, data_dir, download, download_extract
from .store.results import recorded_results
from .training import finetune, load_or_finetune, train, train_ch13, train_step
from .truncation import TRUNCATIONS
from .vocab import Vocab, WordPieceVocab, get_tokens_and_segments, tokenize

__version__ = "0.1.0"

__all__ = [
    "DATA_HUB",
    "DATA_URL",
    "LABELS",
    "TRUNCATIONS",
    "AttentionExplorer",
    "BERTClassifier",
    "BERTConfig",
    "BERTEncoder",
    "BERTModel",
    "Evaluation",
    "History",
    "PairStrip",
    "Predictor",
    "Recipe",
    "SNLIBERTDataset",
    "TruncationExplorer",
    "TruncationStrips",
    "Vocab",
    "WordPieceVocab",
    "attention",
    "bar_chart",
    "bucketed_loader",
    "check",
    "classifier_dir",
    "data_dir",
    "dot_chart",
    "download",
    "download_extract",
    "evaluate",
    "export_classifier",
    "fill_mask",
    "finetune",
    "get_dataloader_workers",
    "get_tokens_and_segments",
    "heat_map",
    "line_chart",
    "load_classifier",
    "load_or_finetune",
    "load_pretrained_model",
    "mapped_dataset",
    "next_sentence_proba",
    "open_split",
    "padding_chart",
    "paired_difference",
    "predict_proba",
    "predict_snli",
    "process_group",
    "proportion",
    "read_pairs",
    "read_phenomena",
    "read_snli",
    "recipe",
    "recorded_results",
    "save_classifier",
    "show_source",
    "tokenize",
    "train",
    "train_ch13",
    "train_step",
    "try_all_gpus",
    "word_changes",
]


def __getattr__(name: str) -> type:
    """Import the widgets on their first use, because ipywidgets is slow to import."""
    if name in ("AttentionExplorer", "Predictor", "TruncationExplorer"):
        from .show import widgets

        return getattr(widgets, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
