"""The sample corpus, the tiny pretrained BERT, and the program that makes both."""
