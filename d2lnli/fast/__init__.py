"""What makes encoding and training fast: each part gives the numbers of a plain one.

Tests hold it to them. `encoding` does for many pairs what `dataset.encode_pair` does for one; it
imports `vocab` and `truncation`, and `dataset` imports it. `training` joins the optimizer with the
plain parts. The folder may import nouns (`bert`, `vocab`, `truncation`, `corpora`, `dataset`,
`history`, `devices`).
"""
