"""Small random models in each architecture of kind `huggingface`, saved as the hub has them."""

import json

import numpy as np
import torch
import transformers as hf

from bss.data.store import Modality

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
SOUND = {
    **SIZES,
    "conv_dim": (8, 8),
    "conv_kernel": (5, 3),
    "conv_stride": (4, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.5,
    "mask_time_length": 2,
    "layerdrop": 0.5,
}
WHISPER = {
    **{"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_mel_bins": 8},
    **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 60, "pad_token_id": 0},
    **{"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "max_source_positions": 50},
}
AST = {**SIZES, "num_mel_bins": 16, "max_length": 32, "patch_size": 8, "frequency_stride": 8, "time_stride": 8}
PICTURE = {"image_size": 16, "patch_size": 8}
VIT_PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 16, "width": 16},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
VIDEO_PROCESSOR = VIT_PROCESSOR | {
    "image_processor_type": "VideoMAEImageProcessor",
    "size": {"shortest_edge": 16},
    "do_center_crop": True,
    "crop_size": {"height": 16, "width": 16},
}

IMAGE = Modality("image", (3, 16, 16), "uint8")
CLIP = Modality("clip", (4, 3, 16, 16), "uint8")
AUDIO = Modality("audio", (640,), "float32", 16000, "pad")
TEXT = Modality("text", (6,), "int32", None, None, 29, 30)

MODELS = {
    "bert": (lambda: hf.BertConfig(vocab_size=30, max_position_embeddings=8, **SIZES), TEXT, None),
    "clip-text": (lambda: hf.CLIPConfig(text_config=CLIP_TEXT, vision_config=PICTURE | SIZES), TEXT, None),
    "vit": (lambda: hf.ViTConfig(**PICTURE, **SIZES), IMAGE, VIT_PROCESSOR),
    "dinov2": (lambda: hf.Dinov2Config(**PICTURE, **SIZES, drop_path_rate=0.5), IMAGE, VIT_PROCESSOR),
    "convnext": (lambda: hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2), IMAGE, VIT_PROCESSOR),
    "clip-image": (lambda: hf.CLIPConfig(text_config=CLIP_TEXT, vision_config=PICTURE | SIZES), IMAGE, VIT_PROCESSOR),
    "vit on a clip": (lambda: hf.ViTConfig(**PICTURE, **SIZES), CLIP, VIT_PROCESSOR),
    "videomae": (lambda: hf.VideoMAEConfig(**PICTURE, **SIZES, num_frames=4), CLIP, VIDEO_PROCESSOR),
    "wav2vec2": (lambda: hf.Wav2Vec2Config(**SOUND), AUDIO, hf.Wav2Vec2FeatureExtractor),
    "hubert": (lambda: hf.HubertConfig(**SOUND), AUDIO, lambda: hf.Wav2Vec2FeatureExtractor(do_normalize=False)),
    "whisper": (
        lambda: hf.WhisperConfig(**WHISPER),
        AUDIO,
        lambda: hf.WhisperFeatureExtractor(feature_size=8, chunk_length=1),
    ),
    "ast": (lambda: hf.ASTConfig(**AST), AUDIO, lambda: hf.ASTFeatureExtractor(num_mel_bins=16, max_length=32)),
}
"""Configuration, modality, and processor: None, its JSON, or what makes it."""
CLIP_TEXT = {**SIZES, "vocab_size": 30, "max_position_embeddings": 8, "eos_token_id": 29, "pad_token_id": 0}


def save_model(name, folder, seed=0):
    """Save the model `name` of `MODELS` with its processor in `folder`; return the model."""
    configuration, _, processor = MODELS[name]
    torch.manual_seed(seed)
    model = hf.AutoModel.from_config(configuration(), attn_implementation="eager").eval()
    model.save_pretrained(folder)
    if isinstance(processor, dict):
        (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    elif processor is not None:
        processor().save_pretrained(folder)
    return model


def stored_samples(modality, count=3, seed=0):
    """Return stored samples of `modality`, a tensor [count, *shape]."""
    random = np.random.default_rng(seed)
    if modality.kind == "text":
        tokens = random.integers(1, 29, (count, *modality.shape), dtype=np.int32)
        tokens[:, 4] = 29
        tokens[:, 5] = 0
        return torch.from_numpy(tokens)
    if modality.kind == "audio":
        return torch.from_numpy(random.uniform(-1, 1, (count, *modality.shape)).astype(np.float32))
    return torch.from_numpy(random.integers(0, 256, (count, *modality.shape), dtype=np.uint8))
