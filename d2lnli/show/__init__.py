"""Displays: the live plot, charts, token strips, and widgets.

They draw numbers and words, and may import nouns. Only `widgets`, which predict while you type,
also import verbs, such as `prediction`.
"""
