"""Where files live.

The hub of names and the data folder (`hub`), downloads and archives, files that are written whole
(`files`), fine-tuned classifiers, datasets and histories on disk, and the space that all of it
takes (`cache`). It may import nouns alone.
"""
