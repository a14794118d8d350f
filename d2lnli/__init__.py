"""d2lnli: natural language inference by fine-tuning BERT, as a course and as a thin package."""

from .bert import BERTClassifier, BERTEncoder, BERTModel
from .classifiers import load_classifier, save_classifier
from .devices import get_dataloader_workers, try_all_gpus
from .evaluation import Evaluation, evaluate, predict_proba, predict_snli
from .history import History
from .hub import DATA_HUB, DATA_URL, classifier_dir, data_dir, download, download_extract
from .plotting import show_source
from .pretrained import load_pretrained_model
from .snli import LABELS, SNLIBERTDataset, bucketed_loader, read_snli
from .text import Vocab, get_tokens_and_segments, tokenize
from .training import finetune, recipe, train_ch13
from .truncation import TRUNCATIONS

__version__ = "0.1.0"

__all__ = [
    "DATA_HUB",
    "DATA_URL",
    "LABELS",
    "TRUNCATIONS",
    "BERTClassifier",
    "BERTEncoder",
    "BERTModel",
    "Evaluation",
    "History",
    "SNLIBERTDataset",
    "Vocab",
    "bucketed_loader",
    "classifier_dir",
    "data_dir",
    "download",
    "download_extract",
    "evaluate",
    "finetune",
    "get_dataloader_workers",
    "get_tokens_and_segments",
    "load_classifier",
    "load_pretrained_model",
    "predict_proba",
    "predict_snli",
    "read_snli",
    "recipe",
    "save_classifier",
    "show_source",
    "tokenize",
    "train_ch13",
    "try_all_gpus",
]
