//! Servers that know no ranges, refuse, are busy, or are gone for a while.

use std::time::{Duration, Instant};

use super::{Case, Expected, Row, cut};
use crate::{
    pulls::ranged,
    server::{Answer, Request},
};

pub(super) async fn play(rows: &mut Vec<Row>) {
    ranges(rows).await;
    busy(rows).await;
    refusing(rows).await;
}

/// The same question without a range.
fn without_range(request: &Request) -> Request {
    Request { range: None, ..request.clone() }
}

async fn ranges(rows: &mut Vec<Row>) {
    let case = Case::new("ranges ignored: 200 for each", Expected::Whole, |_, request, content| {
        ranged(content, &without_range(request), "")
    });
    rows.push(case.await.play().await);
    let case =
        Case::new("ranges ignored, and cut twice", Expected::Whole, |number, request, content| {
            cut(content, &without_range(request), if number < 3 { 0.5 } else { 1.0 })
        });
    rows.push(case.await.play().await);
    let case =
        Case::new("200 for 206 now and then", Expected::Whole, |number, request, content| {
            let without = without_range(request);
            ranged(content, if number % 4 == 2 { &without } else { request }, "")
        });
    rows.push(case.await.play().await);
    let case = Case::new("416 for each range", Expected::Whole, |_, request, content| {
        if request.range.is_some() {
            return Answer::new("416 Range Not Satisfiable", "", b"");
        }
        ranged(content, request, "")
    });
    rows.push(case.await.play().await);
    let case = Case::new(
        "416 with its own length for each range",
        Expected::Whole,
        |_, request, content| {
            if request.range.is_some() {
                let range = format!("content-range: bytes */{}\r\n", content.len());
                return Answer::new("416 Range Not Satisfiable", &range, b"");
            }
            ranged(content, request, "")
        },
    );
    rows.push(case.await.play().await);
    let case =
        Case::new("no more than 10,000 bytes at once", Expected::Whole, |_, request, content| {
            let mut less = request.clone();
            less.range = request.range.map(|(first, last)| (first, last.min(first + 9_999)));
            ranged(content, &less, "")
        });
    rows.push(case.await.play().await);
}

async fn busy(rows: &mut Vec<Row>) {
    let mut case =
        Case::new("429 with Retry-After, thrice", Expected::Whole, |number, request, content| {
            if number < 3 {
                return Answer::new("429 Too Many Requests", "retry-after: 1000\r\n", b"");
            }
            ranged(content, request, "")
        })
        .await;
    case.terms.pace.retry_after_max = Duration::from_millis(200);
    let began = Instant::now();
    rows.push(case.play().await);
    // Each of them was heeded, as far as that is bounded.
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    let case = Case::new(
        "503 for two thirds of all questions",
        Expected::Whole,
        |number, request, content| {
            if number % 3 > 0 {
                return Answer::new("503 Service Unavailable", "", b"");
            }
            ranged(content, request, "")
        },
    );
    rows.push(case.await.play().await);
    let case = Case::new(
        "500 behind what came, twenty times",
        Expected::Whole,
        |number, request, content| {
            if (2..22).contains(&number) {
                return Answer::new("500 Internal Server Error", "", b"");
            }
            ranged(content, request, "")
        },
    );
    rows.push(case.await.play().await);
    let gone = Expected::Error("503: it has a problem of its own");
    let case = Case::new("503 for ever, from a server never seen before", gone, |_, _, _| {
        Answer::new("503 Service Unavailable", "", b"")
    });
    rows.push(case.await.play().await);
}

async fn refusing(rows: &mut Vec<Row>) {
    for (fault, status, part) in [
        ("401", "401 Unauthorized", "401: it does not exist, or is private"),
        ("403", "403 Forbidden", "403: it is not for everybody"),
        ("404", "404 Not Found", "404: it does not exist"),
        ("410", "410 Gone", "410: it does not exist"),
        ("302 to nowhere", "302 Found", "302: it is redirected to nowhere"),
        ("204", "204 No Content", "it answers 204"),
    ] {
        let case =
            Case::new(fault, Expected::Error(part), move |_, _, _| Answer::new(status, "", b""));
        rows.push(case.await.play().await);
    }
    let gone = Expected::Error("404: it does not exist");
    let mut case = Case::new("404 midway", gone, |number, request, content| {
        if number > 3 {
            Answer::new("404 Not Found", "", b"")
        } else {
            ranged(content, request, "")
        }
    })
    .await;
    case.kept_bytes_min = 300_000;
    rows.push(case.play().await);
}
