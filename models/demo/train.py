"""Trains the demo model on generated conversations: `python train.py --seconds 900 --out checkpoint.npz`.
Writes tokenizer.json beside itself. Stops by the clock; the learning rate falls to zero by then."""

import argparse
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import data
import model
import text

SEED = 20261121
ROW_TOKENS = 256
ROWS = 12
TAGS = re.compile("|".join(map(re.escape, text.CONTROL_TOKENS + text.TAG_TOKENS)))


def make_tokenizer():
    """Trains and saves the tokenizer on a sample; tags are cut out, since they are tokens already."""
    sample = [text.render(item["messages"], item["tools"]) for item in data.conversations(SEED + 1, 20_000)]
    tokenizer = text.train_tokenizer((piece for whole in sample for piece in TAGS.split(whole)), model.VOCABULARY)
    tokenizer.save(str(text.FOLDER / "tokenizer.json"))
    return tokenizer


def answer_mask(ids: np.ndarray, start: np.ndarray, end: int) -> np.ndarray:
    """1 where a token belongs to an assistant's turn, its <|im_end|> included."""
    mask, inside, width = np.zeros(len(ids), np.float32), False, len(start)
    for index, token in enumerate(ids):
        mask[index] = inside
        if inside and token == end:
            inside = False
        elif not inside and index + 1 >= width and np.array_equal(ids[index + 1 - width : index + 1], start):
            inside = True
    return mask


def batches(tokenizer, stage: int):
    """Endless batches: conversations packed into rows, told apart by segment, positions from zero."""
    start = np.array(tokenizer.encode("<|im_start|>assistant\n").ids)
    end = tokenizer.token_to_id("<|im_end|>")
    seed, pending = SEED + 1_000_000 * (stage + 1), []
    shape = (ROWS, ROW_TOKENS + 1)
    while True:
        tokens, segments = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
        positions, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        for row in range(ROWS):
            at, segment = 0, 0
            while True:
                if not pending:
                    seed += 1
                    chats = data.conversations(seed, 500)
                    rendered = [text.render(item["messages"], item["tools"]) for item in chats]
                    pending = [np.array(item.ids) for item in tokenizer.encode_batch(rendered)]
                ids = pending[-1][: ROW_TOKENS + 1]
                if at + len(ids) > ROW_TOKENS + 1:
                    break
                pending.pop()
                span = slice(at, at + len(ids))
                tokens[row, span], segments[row, span] = ids, segment
                positions[row, span], weights[row, span] = np.arange(len(ids)), answer_mask(ids, start, end)
                at, segment = at + len(ids), segment + 1
        yield tokens, segments, positions, *wanted_targets(tokens, weights)


def wanted_targets(tokens, weights):
    """Where the next token is part of an answer: a fixed number of (row, column, target), the last repeated."""
    rows, columns = np.nonzero(weights[:, 1:])
    index = np.minimum(np.arange(ROWS * ROW_TOKENS // 2), len(rows) - 1)
    rows, columns = rows[index], columns[index]
    return rows, columns, tokens[rows, columns + 1]


def loss(parameters, tokens, segments, positions, rows, columns, targets):
    """Cross entropy of the answers only: prompts are random names, and nobody has to guess those."""
    logits = model.forward(parameters, tokens[:, :-1], positions[:, :-1], segments[:, :-1], (rows, columns))
    picked = jnp.take_along_axis(logits, targets[:, None], -1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked)


def save(path, parameters):
    flat = {f"{index}.{key}": value for index, layer in enumerate(parameters["layers"]) for key, value in layer.items()}
    np.savez(path, token_embd=parameters["token_embd"], output_norm=parameters["output_norm"], **flat)


def load(path) -> dict:
    flat = np.load(path)
    layers = [{key.split(".")[1]: jnp.asarray(flat[key]) for key in flat.files if key.startswith(f"{index}.")} for index in range(model.LAYERS)]
    return {"token_embd": jnp.asarray(flat["token_embd"]), "layers": layers, "output_norm": jnp.asarray(flat["output_norm"])}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=900)
    options.add_argument("--out", default="checkpoint.npz")
    options.add_argument("--resume", help="go on from this checkpoint, with the tokenizer that is there")
    options.add_argument("--stage", type=int, default=0, help="another stage draws other conversations")
    arguments = options.parse_args()
    tokenizer = text.load_tokenizer() if arguments.resume else make_tokenizer()
    parameters = load(arguments.resume) if arguments.resume else model.initial_parameters(SEED)
    # Muon orthogonalises the matrices' updates and needs about half the tokens AdamW does here;
    # the learning rate is injected because the schedule follows the clock, not a step count.
    labels = jax.tree.map(lambda leaf: "matrix" if leaf.ndim == 2 else "other", parameters)
    labels["token_embd"] = "other"

    def optimizer_of(rate):
        matrix = optax.contrib.muon(rate, consistent_rms=0.2)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.partition({"matrix": matrix, "other": optax.adam(rate, 0.9, 0.95)}, labels))

    optimizer = optax.inject_hyperparams(optimizer_of)(rate=0.0)
    state = optimizer.init(parameters)

    @jax.jit
    def step(parameters, state, batch):
        value, gradient = jax.value_and_grad(loss)(parameters, *batch)
        update, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, update), state, value

    began, source = time.time(), batches(tokenizer, arguments.stage)
    count = 0
    while (done := (time.time() - began) / arguments.seconds) < 1.0:
        state.hyperparams["rate"] = jnp.float32(4e-3 * min(1.0, (count + 1) / 40) * min(1.0, (1.0 - done) / 0.6))
        parameters, state, value = step(parameters, state, next(source))
        count += 1
        if count % 20 == 0:
            print(f"step {count}  loss {float(value):.4f}  {time.time() - began:.0f} s", flush=True)
            if count % 100 == 0:
                save(arguments.out, parameters)
    save(arguments.out, parameters)


if __name__ == "__main__":
    main()
