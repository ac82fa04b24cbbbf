"""The network: a small qwen3-shaped transformer in PyTorch (grouped queries, QK norm, SwiGLU, tied
embeddings), so that llama.cpp's own qwen3 graph runs the exported weights. Training is in train.py.
Parameters are a dictionary by GGUF's names; matrices are [out, in] as GGUF and PyTorch have them."""

import numpy as np
import torch
from torch.nn import functional

VOCABULARY = 1536
WIDTH = 160
LAYERS = 6
HEADS = 6
KV_HEADS = 3
HEAD_WIDTH = 32
INNER_WIDTH = 448
CONTEXT_TOKENS = 2048
ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-6
FREQUENCIES = torch.tensor(ROPE_BASE ** (-2.0 * np.arange(HEAD_WIDTH // 2) / HEAD_WIDTH), dtype=torch.float32)


def initial_parameters(seed: int) -> dict:
    """Random weights."""
    random = np.random.default_rng(seed)

    def matrix(columns, rows, scale=1.0):
        return random.normal(0.0, scale / np.sqrt(columns), (rows, columns))

    depth_scale = 1.0 / np.sqrt(2 * LAYERS)
    parameters = {"token_embd": random.normal(0.0, 0.05, (VOCABULARY, WIDTH)), "output_norm": np.ones(WIDTH)}
    for index in range(LAYERS):
        layer = {
            "attn_norm": np.ones(WIDTH),
            "attn_q": matrix(WIDTH, HEADS * HEAD_WIDTH),
            "attn_k": matrix(WIDTH, KV_HEADS * HEAD_WIDTH),
            "attn_v": matrix(WIDTH, KV_HEADS * HEAD_WIDTH),
            "attn_q_norm": np.ones(HEAD_WIDTH),
            "attn_k_norm": np.ones(HEAD_WIDTH),
            "attn_output": matrix(HEADS * HEAD_WIDTH, WIDTH, depth_scale),
            "ffn_norm": np.ones(WIDTH),
            "ffn_gate": matrix(WIDTH, INNER_WIDTH),
            "ffn_up": matrix(WIDTH, INNER_WIDTH),
            "ffn_down": matrix(INNER_WIDTH, WIDTH, depth_scale),
        }
        parameters |= {f"blk.{index}.{name}": value for name, value in layer.items()}
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in parameters.items()}


def rms_norm(x, weight):
    """Root-mean-square normalisation, in the form llama.cpp computes it."""
    return functional.rms_norm(x.float(), (x.shape[-1],), weight, NORM_EPSILON)


def rope(x, positions):
    """Rotary embedding in the NEOX order (halves, not neighbours): the one qwen3 uses in llama.cpp.
    `x` is [rows, length, heads, width], `positions` [rows, length]."""
    half = HEAD_WIDTH // 2
    angles = positions[..., None, None] * FREQUENCIES
    cosine, sine = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def project(x, layer, positions):
    """Queries, keys and values of one layer, normalised and rotated, as [rows, heads, length, width]."""
    rows, length, _ = x.shape

    def heads(name, count):
        return functional.linear(x, layer(name)).view(rows, length, count, HEAD_WIDTH)

    queries = rope(rms_norm(heads("attn_q", HEADS), layer("attn_q_norm")), positions)
    keys = rope(rms_norm(heads("attn_k", KV_HEADS), layer("attn_k_norm")), positions)
    return [part.to(x.dtype).transpose(1, 2) for part in (queries, keys, heads("attn_v", KV_HEADS))]


def attend(queries, keys, values, mask):
    """Softmax attention; each key head serves HEADS / KV_HEADS query heads."""
    rows, _, length, _ = queries.shape
    grouped = queries.reshape(rows, KV_HEADS, HEADS // KV_HEADS * length, HEAD_WIDTH) / HEAD_WIDTH**0.5
    # Written out, since PyTorch's fused attention is six times slower backwards when it has a mask.
    scores = (grouped @ keys.transpose(-1, -2)).view(rows, HEADS, length, -1)
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1, dtype=scores.dtype).view(rows, KV_HEADS, HEADS // KV_HEADS * length, -1)
    return (weights @ values).view(rows, HEADS, length, HEAD_WIDTH).transpose(1, 2).flatten(2)


def block(x, layer, positions, mask, remember=lambda keys, values: (keys, values)):
    """One layer. `remember` sees the new keys and values and returns those to attend to."""
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    queries, keys, values = project(rms_norm(x, layer("attn_norm")).to(kind), layer, positions)
    x = x + functional.linear(attend(queries, *remember(keys, values), mask), layer("attn_output"))
    inner = rms_norm(x, layer("ffn_norm")).to(kind)
    gated = functional.silu(functional.linear(inner, layer("ffn_gate"))) * functional.linear(inner, layer("ffn_up"))
    return x + functional.linear(gated, layer("ffn_down"))


def layer_of(parameters, index):
    return lambda name: parameters[f"blk.{index}.{name}"]


def forward(parameters, tokens, positions, mask, wanted):
    """Logits at the wanted (row, column) pairs. `mask` adds 0 where a token may look and minus infinity
    elsewhere. Unwanted logits would cost more than a layer, so they are never computed."""
    x = parameters["token_embd"][tokens]
    for index in range(LAYERS):
        x = block(x, layer_of(parameters, index), positions, mask)
    return functional.linear(rms_norm(x[wanted], parameters["output_norm"]), parameters["token_embd"])


def empty_cache(rows: int, length: int) -> torch.Tensor:
    """Store of keys and values for step-by-step decoding."""
    return torch.zeros(LAYERS, 2, rows, KV_HEADS, length, HEAD_WIDTH)


def decode_step(parameters, cache, tokens, position: int):
    """Logits of one token for every row at the same position; writes the cache."""
    positions = torch.full((len(tokens), 1), position)
    x = parameters["token_embd"][tokens][:, None]
    for index in range(LAYERS):

        def remember(keys, values, stored=cache[index]):
            stored[0, :, :, position], stored[1, :, :, position] = keys[:, :, 0], values[:, :, 0]
            return stored[0, :, :, : position + 1], stored[1, :, :, : position + 1]

        x = block(x, layer_of(parameters, index), positions, None, remember)
    return functional.linear(rms_norm(x[:, 0], parameters["output_norm"]), parameters["token_embd"])
