"""What makes a run survive, and lets several processes share it.

Its folder (`folder`), the stop button (`stop_button`), the best epoch (`best_epoch`), who this
process is among several (`ranks`), and a run in the background (`launched`). It may import `store`,
`show` and nouns.
"""
