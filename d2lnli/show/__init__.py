"""What people look at: the live plot, charts, token strips, and widgets.

It knows numbers and words, not networks, and may import nouns; only `widgets`, which answer while
somebody types, also imports the verbs (`prediction` and the like).
"""
