"""What makes training fast. Each part gives the numbers of the plain one; tests hold it to them.

It is joined with the plain parts in `training` and `evaluation`. It may import nouns (`bert`,
`vocab`, `truncation`, `corpora`, `dataset`, `history`, `devices`).
"""
