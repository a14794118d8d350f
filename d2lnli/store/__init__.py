"""Where files live.

The hub of names and the data folder (`hub`), downloads and archives, files that are written whole
(`files`), fine-tuned classifiers and datasets on disk, and what all of it takes up (`cache`). It
may import nouns alone.
"""
