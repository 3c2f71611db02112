"""Pretrained models that transformers' AutoModel loads, as encoders (kind `huggingface`)."""
