"""The network: a small qwen3-shaped transformer in JAX (grouped queries, QK norm, SwiGLU, tied
embeddings), so that llama.cpp's own qwen3 graph runs the exported weights. Training is in train.py."""

import jax
import jax.numpy as jnp
import numpy as np

VOCABULARY = 1536
WIDTH = 128
LAYERS = 4
HEADS = 4
KV_HEADS = 2
HEAD_WIDTH = 32
INNER_WIDTH = 384
CONTEXT_TOKENS = 2048
ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-6


def initial_parameters(seed: int) -> dict:
    """Random weights. Matrices are stored [in, out]; export.py transposes them for GGUF."""
    random = np.random.default_rng(seed)

    def matrix(rows, columns, scale=1.0):
        return jnp.asarray(random.normal(0.0, scale / np.sqrt(rows), (rows, columns)), jnp.float32)

    depth_scale = 1.0 / np.sqrt(2 * LAYERS)
    layers = [
        {
            "attn_norm": jnp.ones(WIDTH),
            "attn_q": matrix(WIDTH, HEADS * HEAD_WIDTH),
            "attn_k": matrix(WIDTH, KV_HEADS * HEAD_WIDTH),
            "attn_v": matrix(WIDTH, KV_HEADS * HEAD_WIDTH),
            "attn_q_norm": jnp.ones(HEAD_WIDTH),
            "attn_k_norm": jnp.ones(HEAD_WIDTH),
            "attn_output": matrix(HEADS * HEAD_WIDTH, WIDTH, depth_scale),
            "ffn_norm": jnp.ones(WIDTH),
            "ffn_gate": matrix(WIDTH, INNER_WIDTH),
            "ffn_up": matrix(WIDTH, INNER_WIDTH),
            "ffn_down": matrix(INNER_WIDTH, WIDTH, depth_scale),
        }
        for _ in range(LAYERS)
    ]
    embedding = jnp.asarray(random.normal(0.0, 0.05, (VOCABULARY, WIDTH)), jnp.float32)
    return {"token_embd": embedding, "layers": layers, "output_norm": jnp.ones(WIDTH)}


def rms_norm(x, weight):
    """Root-mean-square normalisation, in the form llama.cpp computes it."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPSILON) * weight


def rope(x, positions):
    """Rotary embedding in the NEOX order (halves, not neighbours): the one qwen3 uses in llama.cpp."""
    half = HEAD_WIDTH // 2
    frequencies = ROPE_BASE ** (-np.arange(half) / half)
    angles = positions[..., None, None] * frequencies
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)


def project(x, layer, positions):
    """Queries, keys and values of one layer, normalised and rotated."""
    rows, length, _ = x.shape
    queries = (x @ layer["attn_q"]).reshape(rows, length, HEADS, HEAD_WIDTH)
    keys = (x @ layer["attn_k"]).reshape(rows, length, KV_HEADS, HEAD_WIDTH)
    values = (x @ layer["attn_v"]).reshape(rows, length, KV_HEADS, HEAD_WIDTH)
    queries = rope(rms_norm(queries, layer["attn_q_norm"]), positions)
    keys = rope(rms_norm(keys, layer["attn_k_norm"]), positions)
    return queries, keys, values


def attend(queries, keys, values, mask):
    """Softmax attention; each key head serves HEADS / KV_HEADS query heads."""
    rows, length, _, _ = queries.shape
    grouped = queries.reshape(rows, length, KV_HEADS, HEADS // KV_HEADS, HEAD_WIDTH)
    scores = jnp.einsum("rqkgd,rskd->rkgqs", grouped, keys) / np.sqrt(HEAD_WIDTH)
    weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e30), axis=-1)
    mixed = jnp.einsum("rkgqs,rskd->rqkgd", weights, values)
    return mixed.reshape(rows, length, HEADS * HEAD_WIDTH)


def feed_forward(x, layer):
    """SwiGLU."""
    return (jax.nn.silu(x @ layer["ffn_gate"]) * (x @ layer["ffn_up"])) @ layer["ffn_down"]


def forward(parameters, tokens, positions, segments, wanted):
    """Logits at the wanted (row, column) pairs. Tokens see only earlier tokens of their own conversation
    (segment). Unwanted logits would cost more than a layer, so they are never computed."""
    length = tokens.shape[1]
    causal = np.tril(np.ones((length, length), bool))
    mask = causal & (segments[:, :, None] == segments[:, None, :])
    x = parameters["token_embd"][tokens]
    for layer in parameters["layers"]:
        queries, keys, values = project(rms_norm(x, layer["attn_norm"]), layer, positions)
        x = x + attend(queries, keys, values, mask) @ layer["attn_output"]
        x = x + feed_forward(rms_norm(x, layer["ffn_norm"]), layer)
    return rms_norm(x[wanted], parameters["output_norm"]) @ parameters["token_embd"].T


def empty_cache(rows: int, length: int):
    """Key and value store for step-by-step decoding."""
    shape = (LAYERS, rows, length, KV_HEADS, HEAD_WIDTH)
    return jnp.zeros(shape), jnp.zeros(shape)


def decode_step(parameters, cache, tokens, position):
    """One token for every row at the same position; returns logits and the updated cache."""
    all_keys, all_values = cache
    rows, length = tokens.shape[0], all_keys.shape[2]
    positions = jnp.full((rows, 1), position)
    mask = jnp.broadcast_to(jnp.arange(length) <= position, (rows, 1, length))
    x = parameters["token_embd"][tokens][:, None]
    for index, layer in enumerate(parameters["layers"]):
        queries, keys, values = project(rms_norm(x, layer["attn_norm"]), layer, positions)
        all_keys = jax.lax.dynamic_update_slice(all_keys, keys[None], (index, 0, position, 0, 0))
        all_values = jax.lax.dynamic_update_slice(all_values, values[None], (index, 0, position, 0, 0))
        x = x + attend(queries, all_keys[index], all_values[index], mask) @ layer["attn_output"]
        x = x + feed_forward(rms_norm(x, layer["ffn_norm"]), layer)
    logits = rms_norm(x[:, 0], parameters["output_norm"]) @ parameters["token_embd"].T
    return logits, (all_keys, all_values)
