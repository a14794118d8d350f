"""The grammar from which the bundled corpus is made, and the text that bert.tiny was trained on."""
