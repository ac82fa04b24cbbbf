//! Sound, both ways.

use super::super::shape::{Shape, bytes, either, fields, number_in, object, text, text_of, word};
use super::super::{Operation, Words, shared};
use super::TAG;
use crate::limits::{
    LISTEN_PROMPT_BYTES_MAX, SHORT_VALUE_BYTES_MAX, SPEECH_BYTES_MAX, SPEECH_SPEED_MAX,
    SPEECH_SPEED_MIN,
};
use crate::openai::{speech, transcription};

pub(super) fn speech() -> Operation {
    let operation =
        Operation::post("/v1/audio/speech", Words::OpenAi, "speak", "Reads a text out").tag(TAG);
    let operation = operation
        .about("Answered by a tool with `serves = \"speak\"`, or by a server that does this.")
        .takes(speech_request());
    // A speaker may have a form of its own.
    let kinds = speech::Format::ALL.map(speech::Format::content_type);
    let kinds = kinds.into_iter().chain(["application/octet-stream"]);
    kinds
        .fold(operation, |operation, kind| operation.answers_as(kind, bytes()))
        .success("The sound.")
        .asks_a_model()
        .fails(&[504])
}

fn speech_request() -> Shape {
    let short = || text_of(0..=SHORT_VALUE_BYTES_MAX);
    fields("What is to be said. What is not named here is ignored.")
        .with(shared::model_if_named)
        .has("input", "What to say.", text_of(1..=SPEECH_BYTES_MAX))
        .may("voice", "Who says it, by a name of OpenAI's or of the speaker's own.", short())
        .may("language", "The language it is in.", short())
        .may(
            "response_format",
            "The form of the sound; without it, the speaker's own.",
            word(&speech::Format::ALL.map(speech::Format::name)),
        )
        .may("speed", "1 is the voice's own.", number_in(SPEECH_SPEED_MIN..=SPEECH_SPEED_MAX))
        .may("stream_format", "Sound comes as it is.", word(&["audio"]))
        .named("SpeechRequest")
}

pub(super) fn transcription() -> Operation {
    let summary = "Writes down what is said";
    Operation::post("/v1/audio/transcriptions", Words::OpenAi, "transcribe", summary)
        .tag(TAG)
        .about("Answered by a tool with `serves = \"listen\"`, or by a server that does this.")
        .takes_as("multipart/form-data", form())
        .answers(either([
            heard(),
            object().about("With `verbose_json`, all that the listener says."),
        ]))
        .answers_as("text/plain", text())
        .answers_as("application/x-subrip", text())
        .answers_as("text/vtt", text())
        .fails(&[415])
        .asks_a_model()
        .fails(&[504])
}

fn form() -> Shape {
    let short = || text_of(0..=SHORT_VALUE_BYTES_MAX);
    fields("A form with the sound. What is not named here is ignored; so is a field that is empty.")
        .has("file", "The sound's file.", bytes())
        .at_times("model", "Who is to listen; without it, the hub chooses.", short())
        .at_times("language", "The language it is in.", short())
        .at_times(
            "prompt",
            "Words that help to understand it.",
            text_of(0..=LISTEN_PROMPT_BYTES_MAX),
        )
        .at_times("temperature", "How freely to guess.", number_in(0.0..=1.0))
        .at_times(
            "response_format",
            "The form of the answer.",
            word(&transcription::Format::ALL.map(transcription::Format::name)),
        )
        .named("TranscriptionForm")
}

fn heard() -> Shape {
    fields("What was said.").has("text", "The words.", text()).named("TranscriptionAnswer")
}
