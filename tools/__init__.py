"""Programs that make things, for those who work on the project: no reader of d2lnli needs them.

`python -m tools.data` makes the bundled corpus (`corpus/`) and pretrains the bundled BERT
(`pretraining.py`); `python -m tools.notebooks` generates the exercises and executes the notebooks.
They import d2lnli's public names alone; nothing in the package imports them.
"""
