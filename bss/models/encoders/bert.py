"""BERT."""

import torch
from torch import Tensor
from transformers.models.bert.configuration_bert import BertConfig as Sizes
from transformers.models.bert.modeling_bert import BertModel

from bss.config.encoders import BertConfig
from bss.models.encoders.transformer import Transformer, library_sizes, require_tokens


class Bert(Transformer):
    """Token ids int64 [batch, tokens], 0 = padding, to features float [batch, width]."""

    def __init__(self, config: BertConfig, shape: tuple[int, ...], modality: str) -> None:
        super().__init__(config.hidden, config.features)
        require_tokens(shape, config.positions, modality, "bert")
        self.model = BertModel(
            Sizes(
                vocab_size=config.vocabulary,
                **library_sizes(config),
                max_position_embeddings=config.positions,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
            )
        )

    def encode_some(self, inputs: Tensor) -> Tensor:
        # A text of only padding attends to its first token. We build the mask, because the library's own
        # code inspects values, which per-sample gradients do not allow.
        attended = (inputs != 0) | (torch.arange(inputs.shape[1], device=inputs.device) == 0)
        dtype = self.model.dtype
        mask = (~attended).to(dtype)[:, None, None] * torch.finfo(dtype).min
        pooled: Tensor = self.model(input_ids=inputs, attention_mask=mask).pooler_output
        return pooled
