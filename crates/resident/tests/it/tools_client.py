"""Drives a hub's tools with the official OpenAI client, for tools.rs.

Argument: the base URL of a hub with the scripts of tools.rs as tools. Every check is a function; the
first that fails ends the program.
"""

import base64
import sys

import openai

SOUND = b"RIFF not really"


def check_speech(client):
    answer = client.audio.speech.create(model="parrot", voice="alloy", input="Hello 二")
    assert answer.response.headers["content-type"] == "audio/wav", answer.response.headers
    assert answer.content == "own-alloy|175|Hello 二".encode(), answer.content
    with client.audio.speech.with_streaming_response.create(
        model="speak", voice="nova", input="x" * 4096, speed=2, response_format="wav"
    ) as streamed:
        assert streamed.read() == b"nova|350|" + b"x" * 4096


def check_transcriptions(client):
    file = ("sound.wav", SOUND, "audio/wav")
    heard = client.audio.transcriptions.create(model="ear", file=file, language="de")
    assert heard.text == f"de|{len(SOUND)}", heard
    text = client.audio.transcriptions.create(model="listen", file=file, response_format="text")
    assert text.strip() == f"auto|{len(SOUND)}", text


def check_images(client):
    drawn = client.images.generate(model="hand", prompt="a cat", n=2, size="512x256")
    assert drawn.created > 1_700_000_000, drawn
    pictures = [base64.b64decode(picture.b64_json) for picture in drawn.data]
    assert pictures == [b"a cat 512x256"] * 2, pictures


def check_errors(client):
    for ask, kind, param in [
        ({"model": "tts-1", "voice": "alloy", "input": "x"}, openai.NotFoundError, "model"),
        ({"model": "parrot", "voice": "-x", "input": "x"}, openai.BadRequestError, "voice"),
        ({"model": "parrot", "voice": "alloy", "input": ""}, openai.BadRequestError, "input"),
    ]:
        try:
            client.audio.speech.create(**ask)
        except kind as error:
            assert error.param == param, error
        else:
            raise AssertionError(f"{ask} is accepted")


def main():
    (base_url,) = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60)
    check_speech(client)
    check_transcriptions(client)
    check_images(client)
    check_errors(client)
    print("all checks passed, openai", openai.__version__)


main()
