"""What makes the package fast. Each part gives the numbers of a plain one, and tests compare them.

`encoding` does for many pairs what `dataset.encode_pair` does for one, so `dataset` imports it, and
it imports only `vocab` and `truncation`. `training` and `evaluation` use the other parts:
`network` computes faster than `bert`, `parts` splits minibatches, `optimizer` updates weights, and
`row_adam` updates only the rows that a minibatch reads. On a GPU, `minibatches` makes minibatches
from the ids of all pairs, and `graphs` captures training steps. They may import nouns.
"""
