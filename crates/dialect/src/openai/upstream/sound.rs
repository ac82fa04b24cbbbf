//! Requests for speech, both ways: words that a server is to say, and sound that it is to write down.

use super::{
    super::{speech, transcription},
    Fields,
};

/// A form with a file between two parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// What the request says that it is.
    pub content_type: String,
    /// What comes before the file.
    pub before: Vec<u8>,
    /// What comes after it.
    pub after: Vec<u8>,
}

/// The body that asks a server to say something.
#[must_use]
pub fn speak(request: &speech::Request, model: &str, drops: &[String]) -> Vec<u8> {
    let speech::Request { model: _, input, voice, language, format, speed } = request;
    let mut fields = Fields::new(drops);
    fields.set("model", model);
    fields.set("input", input.as_str());
    let words = [("voice", voice.as_deref()), ("language", language.as_deref())];
    let format = ("response_format", format.map(speech::Format::name));
    for (name, value) in words.into_iter().chain([format]) {
        if let Some(value) = value {
            fields.set(name, value);
        }
    }
    fields.set_unless("speed", *speed, 1.0);
    fields.into_body()
}

/// The form that asks a server to write down what is said in a file. `boundary` must be a word that
/// nobody can foresee, since whoever knew it could add parts of his own.
#[must_use]
pub fn listen(
    request: &transcription::Request,
    model: &str,
    drops: &[String],
    boundary: &str,
) -> Form {
    let transcription::Request { model: _, file_name, language, prompt, temperature, format } =
        request;
    let temperature = temperature.map(|temperature| temperature.to_string());
    let fields = [
        ("model", Some(model)),
        ("language", language.as_deref()),
        ("prompt", prompt.as_deref()),
        ("temperature", temperature.as_deref()),
        ("response_format", Some(format.name())),
    ];
    let mut before = String::new();
    for (name, value) in fields {
        let Some(value) = value.filter(|_| !drops.iter().any(|dropped| dropped == name)) else {
            continue;
        };
        before.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    before.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    ));
    Form {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        before: before.into_bytes(),
        after: format!("\r\n--{boundary}--\r\n").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_said_is_not_sent() {
        let request = speech::decode(br#"{"model":"ours","input":"Hi.","speed":1}"#).unwrap();
        let body = String::from_utf8(speak(&request, "theirs", &[])).unwrap();
        assert_eq!(body, r#"{"model":"theirs","input":"Hi."}"#);
        let all = br#"{"input":"Hi.","voice":"nova","response_format":"mp3","speed":1.5}"#;
        let body = speak(&speech::decode(all).unwrap(), "theirs", &["speed".to_owned()]);
        let expected = r#"{"model":"theirs","input":"Hi.","voice":"nova","response_format":"mp3"}"#;
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn a_form_goes_on_around_its_file() {
        let file = transcription::File { name: Some("a\"b/c\r\n.wav"), bytes: 1 };
        let parts = vec![("prompt".to_owned(), b"Names.".to_vec())];
        let request = transcription::decode(parts, Some(file)).unwrap();
        let form = listen(&request, "theirs", &["response_format".to_owned()], "limit");
        assert_eq!(form.content_type, "multipart/form-data; boundary=limit");
        assert_eq!(
            String::from_utf8(form.before).unwrap(),
            "--limit\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ntheirs\r\n\
             --limit\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nNames.\r\n\
             --limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"abc.wav\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        assert_eq!(form.after, b"\r\n--limit--\r\n");
    }
}
