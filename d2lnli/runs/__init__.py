"""What makes a run survive, and lets several processes share it.

`state` is the place of a run, and `hook` has the events of a training. `hooks`, `stop_button` and
`best_epoch` wait for these events. `folder` keeps checkpoints, `checks` refuses what does not fit,
`identity` compares runs, `meter` takes means, and `failures` says what to do when memory runs out.
`ranks` joins processes, and `launched` runs in the background. It may import `store`, `show` and
nouns.
"""
