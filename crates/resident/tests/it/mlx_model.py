"""Makes a tiny model of random weights in the form that mlx-lm loads.

mlx_model.py TOKENIZER FOLDER: TOKENIZER is a tokenizer.json, FOLDER is made.
"""

import json
import pathlib
import shutil
import sys

import mlx.core as mx

WIDTH, LAYERS, HEADS, KEY_HEADS, HEAD, INNER = 32, 2, 4, 2, 8, 64
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


def config(vocabulary):
    return {
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": HEAD,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": vocabulary,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        # No such tokens: random weights would end an answer anywhere.
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }


def weights(vocabulary):
    shapes = {
        "self_attn.q_proj": (HEADS * HEAD, WIDTH),
        "self_attn.k_proj": (KEY_HEADS * HEAD, WIDTH),
        "self_attn.v_proj": (KEY_HEADS * HEAD, WIDTH),
        "self_attn.o_proj": (WIDTH, HEADS * HEAD),
        "mlp.gate_proj": (INNER, WIDTH),
        "mlp.up_proj": (INNER, WIDTH),
        "mlp.down_proj": (WIDTH, INNER),
    }
    mx.random.seed(1)
    tensors = {
        "model.embed_tokens.weight": mx.random.normal((vocabulary, WIDTH)),
        "model.norm.weight": mx.ones((WIDTH,)),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{norm}.weight"] = mx.ones((WIDTH,))
        for name, shape in shapes.items():
            tensors[f"{prefix}{name}.weight"] = 0.1 * mx.random.normal(shape)
    return tensors


def main(tokenizer, folder):
    folder.mkdir(parents=True)
    known = json.loads(tokenizer.read_text())["model"]["vocab"]
    vocabulary = max(known.values()) + 16
    (folder / "config.json").write_text(json.dumps(config(vocabulary)))
    shutil.copy(tokenizer, folder / "tokenizer.json")
    tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    mx.save_safetensors(str(folder / "model.safetensors"), weights(vocabulary), {"format": "mlx"})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
