//! Answers that are short, long, wrong, encoded, or another file's.

use super::{Case, Expected, Row, cut, shared, with};
use crate::{
    pulls::{content, ranged},
    server::{Answer, Body},
};

pub(super) async fn play(rows: &mut Vec<Row>) {
    bodies(rows).await;
    lengths(rows).await;
    encodings(rows).await;
    changes(rows).await;
    digests(rows).await;
}

async fn bodies(rows: &mut Vec<Row>) {
    let case = Case::new("short bodies, always", Expected::Whole, |_, request, content| {
        cut(content, request, 0.6)
    });
    rows.push(case.await.play().await);
    let case = Case::new(
        "no body behind the head, ten times",
        Expected::Whole,
        |number, request, content| {
            if number < 10 { cut(content, request, 0.0) } else { ranged(content, request, "") }
        },
    );
    rows.push(case.await.play().await);
    let case = Case::new(
        "hangs up without an answer, thrice in four",
        Expected::Whole,
        |number, request, content| {
            if number % 4 == 0 {
                return ranged(content, request, "");
            }
            Answer { head: String::new(), body: Body::HangUp }
        },
    );
    rows.push(case.await.play().await);
    let case = Case::new(
        "a body that is longer than its range",
        Expected::Whole,
        |_, request, content| {
            let mut answer = ranged(content, request, "");
            let Some((first, last)) = request.range else { return answer };
            let range = format!(
                "content-range: bytes {first}-{}/{}\r\n",
                last.min(content.len() as u64 - 1),
                content.len()
            );
            let mut body = format!("{:x}\r\n", content.len()).into_bytes();
            body.extend_from_slice(&content[first as usize..]);
            body.extend_from_slice(&content[..first as usize]);
            body.extend_from_slice(b"\r\n0\r\n\r\n");
            answer.head = format!("206 Partial Content\r\ntransfer-encoding: chunked\r\n{range}");
            answer.body = Body::Bytes(body);
            answer
        },
    );
    rows.push(case.await.play().await);
    let mut case = Case::new(
        "silence in the middle of a body",
        Expected::Whole,
        |number, request, content| {
            if number % 5 != 1 {
                return ranged(content, request, "");
            }
            let mut answer = ranged(content, request, "");
            let first = request.range.map_or(0, |(first, _)| first) as usize;
            answer.body = Body::Stalled(content[first..first + 1000].to_vec());
            answer
        },
    )
    .await;
    case.terms.pace.stall = std::time::Duration::from_millis(300);
    rows.push(case.play().await);
}

async fn lengths(rows: &mut Vec<Row>) {
    let mut case = Case::new(
        "a length that is not its source's",
        Expected::Error("2000000 bytes there, and 2000001 by"),
        |_, request, content| ranged(content, request, ""),
    )
    .await;
    case.wanted.bytes = Some(2_000_001);
    rows.push(case.play().await);
    let says = "it says 5 bytes and";
    let case = Case::new(
        "a length that is not its range's",
        Expected::Error(says),
        |number, request, content| {
            let mut answer = ranged(content, request, "");
            if number > 2 {
                answer.head = answer.head.replace("content-length: ", "content-length: 5\r\nx: ");
            }
            answer
        },
    );
    let mut case = case.await;
    case.kept_bytes_min = 100_000;
    rows.push(case.play().await);
    let sends = "it sends 1 to";
    let case =
        Case::new("another range than asked for", Expected::Error(sends), |_, request, content| {
            let mut moved = request.clone();
            moved.range = request.range.map(|(first, last)| (first + 1, last + 1));
            ranged(content, &moved, "")
        });
    rows.push(case.await.play().await);
}

async fn encodings(rows: &mut Vec<Row>) {
    let bomb = Expected::Error("it comes encoded as gzip, unasked");
    let case = Case::new("a compressed bomb", bomb, |_, _, _| Answer {
        head: "200 OK\r\ncontent-encoding: gzip\r\n".to_owned(),
        body: Body::Endless,
    });
    rows.push(case.await.play().await);
    let mut case =
        Case::new("no end and no length", Expected::Error("does not say how long"), |_, _, _| {
            Answer { head: "200 OK\r\n".to_owned(), body: Body::Endless }
        })
        .await;
    case.wanted.bytes = None;
    rows.push(case.play().await);
    for has_digest in [true, false] {
        let fault =
            if has_digest { "in chunks, of unknown length" } else { "the same, without a digest" };
        let mut case = Case::new(fault, Expected::Whole, |_, _, content| {
            let mut body = Vec::new();
            for chunk in content.chunks(70_000) {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let head = "200 OK\r\ntransfer-encoding: chunked\r\n".to_owned();
            Answer { head, body: Body::Bytes(body) }
        })
        .await;
        case.wanted.bytes = None;
        case.wanted.digest = case.wanted.digest.filter(|_| has_digest);
        rows.push(case.play().await);
    }
}

async fn changes(rows: &mut Vec<Row>) {
    let case = Case::new(
        "another ETag in each answer, with a digest",
        Expected::Whole,
        |number, request, content| ranged(content, request, &format!("etag: \"{number}\"\r\n")),
    );
    rows.push(case.await.play().await);
    let mut case = Case::new(
        "another ETag in each answer, without",
        Expected::Error("times while it came"),
        |number, request, content| ranged(content, request, &format!("etag: \"{number}\"\r\n")),
    )
    .await;
    case.wanted.digest = None;
    rows.push(case.play().await);
    let old = content(1_500_000);
    for by in ["etag", "last-modified"] {
        let old = std::sync::Arc::new(old.iter().map(|byte| !byte).collect::<Vec<u8>>());
        let fault = if by == "etag" {
            "another file midway, by ETag"
        } else {
            "another file midway, by its time"
        };
        let mut case = Case::new(fault, Expected::Whole, move |number, request, content| {
            let version = if number < 3 { &old } else { content };
            ranged(version, request, &format!("{by}: \"{}\"\r\n", number < 3))
        })
        .await;
        (case.wanted.digest, case.wanted.bytes) = (None, None);
        rows.push(case.play().await);
    }
}

async fn digests(rows: &mut Vec<Row>) {
    let mut case = Case::new(
        "a lying digest",
        Expected::Error("its content hashes to sha256:"),
        |_, request, content| ranged(content, request, ""),
    )
    .await;
    case.wanted.digest = Some(library::digest::Sha256::of([7; 32]));
    case.kept_bytes_min = super::BYTES as u64;
    rows.push(case.play().await);
    let is_damaged = shared(false);
    let case = Case::new(
        "one range damaged on its way, once",
        Expected::Whole,
        move |_, request, content| {
            let has_it =
                request.range.is_some_and(|(first, last)| (first..=last).contains(&1_000_000));
            if has_it && !with(&is_damaged, |is_damaged| std::mem::replace(is_damaged, true)) {
                let mut damaged = content.to_vec();
                damaged[1_000_000] ^= 1;
                return ranged(&std::sync::Arc::new(damaged), request, "");
            }
            ranged(content, request, "")
        },
    );
    rows.push(case.await.play().await);
}
