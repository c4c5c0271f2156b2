"""The explainers that core offers: words by TF-IDF, and language models near or far."""
