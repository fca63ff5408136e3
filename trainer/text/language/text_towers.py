"""The text tower of a multimodal model, such as Gemma 3 from 4B on, as a causal language model.

Such a folder has the configuration of the text tower inside its own, and the tower's weights under
longer names. The weights of other towers are not loaded.
"""

from __future__ import annotations

from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

# Names of weights in a multimodal folder → names of the causal language model: those that
# transformers writes since version 4.52, then the older ones. Idefics calls its tower text_model.
TEXT_TOWER_NAMES = {
    r"^model\.language_model\.": "model.",
    r"^model\.text_model\.": "model.",
    r"^language_model\.model\.": "model.",
    r"^language_model\.lm_head\.": "lm_head.",
}


def has_text_tower(settings: dict[str, Any]) -> bool:
    """Return whether a config.json describes a multimodal model with a causal text tower."""
    tower = settings.get("text_config")
    return (
        isinstance(tower, dict)
        and any(
            str(name).endswith("ForConditionalGeneration")
            for name in settings.get("architectures") or ()
        )
        and str(tower.get("model_type")) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )


def text_config(config: Any) -> Any:
    """Return the configuration of the text tower, or `config` itself where it has none."""
    if not has_text_tower(config.to_dict()):
        return config
    tower = config.get_text_config()
    # Quantisation and tied embeddings are stated once, for the whole model.
    if quantisation := getattr(config, "quantization_config", None):
        tower.quantization_config = quantisation
    tower.tie_word_embeddings = config.tie_word_embeddings
    return tower
