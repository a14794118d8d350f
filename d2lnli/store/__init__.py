"""Where files live.

`hub` has the known names and the data folder; `downloads` and `archives` fetch and extract. `files`
writes a file completely or not at all. `tables` reads rows of CSV, TSV and JSON lines, and `splits`
finds the table of a split. `classifiers`, `datasets` and `histories` are saved on disk; `cache`
lists what takes up space; `results` reads the tables that come with the package. This folder may
import only nouns.
"""
