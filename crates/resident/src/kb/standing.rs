//! `resident kb status`: how collections stand, for a person who wants to know how far they are or why something is not
//! found.

use clap::Args;
use gateway::{Collections, Standing, Unread};

use super::{PATH, encoded, message, with_hub};
use crate::{
    cli::Place,
    limits::REASONS_SHOWN_MAX,
    size,
    terminal::{self, Paint, Tone},
};

/// `resident kb status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The collection; all of them where none is named
    collection: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn status(arguments: &Status) -> anyhow::Result<()> {
    let all = with_hub(&arguments.place, async |client| {
        let names = match &arguments.collection {
            Some(name) => vec![name.clone()],
            None => {
                let all: Collections = client.get_as_client(PATH).await?;
                all.collections.into_iter().map(|collection| collection.name).collect()
            }
        };
        let mut all: Vec<Standing> = Vec::with_capacity(names.len());
        for name in names {
            all.push(client.get(&format!("{PATH}/{}", encoded(&name))).await?);
        }
        Ok(all)
    })?;
    if arguments.json {
        return terminal::json(&all);
    }
    if all.is_empty() {
        terminal::line("no files are known; add a folder with: resident kb add FOLDER");
    }
    let paint = Paint::stdout();
    for (number, standing) in all.iter().enumerate() {
        if number > 0 {
            terminal::line("");
        }
        for line in lines(standing, paint) {
            terminal::line(line);
        }
    }
    Ok(())
}

fn lines(standing: &Standing, paint: Paint) -> Vec<String> {
    let collection = &standing.collection;
    let row = |name: &str, says: String| format!("  {name:<10} {}", terminal::inert(&says));
    let name = terminal::inert(&collection.name);
    let mut lines = vec![paint.tone(Tone::Strong, name) + ": " + &collection.state];
    if let Some(error) = &collection.error
        && collection.state == "failed"
    {
        lines.push(row("error", error.clone()));
    }
    if matches!(collection.state.as_str(), "running" | "paused") {
        lines.push(row("progress", message(collection)));
        lines.extend(collection.current.iter().map(|file| row("reads", file.clone())));
    }
    lines.extend(collection.sources.iter().map(|source| row("source", source.clone())));
    lines.push(row("files", files(standing)));
    lines.push(row("passages", collection.passages.to_string()));
    lines.push(row("embedder", embedder(standing)));
    let index = format!("{}, {}", standing.index, size::format(standing.index_bytes));
    lines.push(row("index", index));
    lines.extend(standing.unread.iter().map(unread));
    let missing = (collection.skipped + collection.with_gaps) as usize;
    if missing > standing.unread.len() && !standing.unread.is_empty() {
        let name = &collection.name;
        lines.push(format!("  and more; all of them: resident kb export {name}"));
    }
    lines
}

fn files(standing: &Standing) -> String {
    let collection = &standing.collection;
    let mut says = collection.files.to_string();
    if collection.skipped > 0 {
        says += &format!(", {} not read", collection.skipped);
    }
    if collection.with_gaps > 0 {
        says += &format!(", {} read in part", collection.with_gaps);
    }
    says
}

/// Who made the vectors, and whether that is who embeds now.
fn embedder(standing: &Standing) -> String {
    let Standing { collection, dimension, embedder_here, .. } = standing;
    let rebuild = format!("resident kb rebuild {}", collection.name);
    match (&collection.embedder, embedder_here) {
        (None, None) => "none; passages are found by their words alone".to_owned(),
        (None, Some(here)) => format!("none; {here} is here now: {rebuild}"),
        (Some(made_by), here) => {
            let numbers = dimension.map(|numbers| format!(" ({numbers} numbers)"));
            let made_by_whole = format!("{made_by}{}", numbers.unwrap_or_default());
            match here {
                Some(here) if here == made_by => made_by_whole,
                Some(here) => format!(
                    "{made_by_whole}, which is not who embeds now: bring it back, or take {here}: {rebuild}"
                ),
                None => {
                    format!("{made_by_whole}, which is not here; words alone count until it is")
                }
            }
        }
    }
}

fn unread(unread: &Unread) -> String {
    let kind = if unread.skipped { "not read" } else { "in part" };
    let mut reasons: Vec<&str> = unread.reasons.iter().map(String::as_str).collect();
    let more = reasons.len().saturating_sub(REASONS_SHOWN_MAX);
    reasons.truncate(REASONS_SHOWN_MAX);
    let mut says = format!("{}: {}", unread.path, reasons.join("; "));
    if more > 0 {
        says += &format!("; and {more} more");
    }
    format!("  {kind:<10} {}", terminal::inert(&says))
}

#[cfg(test)]
mod tests {
    use gateway::Collection;

    use super::*;

    fn standing() -> Standing {
        Standing {
            collection: Collection {
                name: "notes".to_owned(),
                sources: vec!["/home/me/Notes".to_owned()],
                embedder: Some("minilm".to_owned()),
                files: 12,
                skipped: 1,
                with_gaps: 1,
                passages: 40,
                state: "running".to_owned(),
                files_to_read: 20,
                files_done: 12,
                bytes_per_s: 2_000_000,
                left_s: Some(90),
                current: Some("/home/me/Notes/a.md".to_owned()),
                ..Collection::default()
            },
            dimension: Some(384),
            embedder_here: Some("minilm".to_owned()),
            index: "exact".to_owned(),
            index_bytes: 3_000_000,
            unread: vec![
                Unread {
                    path: "/home/me/Notes/b.pdf".to_owned(),
                    skipped: true,
                    reasons: vec!["it is no PDF".to_owned()],
                },
                Unread {
                    path: "/home/me/Notes/scan\u{1b}.pdf".to_owned(),
                    skipped: false,
                    reasons: (1..=5).map(|page| format!("page {page} needs OCR")).collect(),
                },
            ],
        }
    }

    #[test]
    fn a_person_sees_how_far_it_is_and_what_is_missing() {
        expect_test::expect![[r#"
            notes: running
              progress   12 of 20 files, 40 passages, 1.9 MiB/s, 1m 30s left
              reads      /home/me/Notes/a.md
              source     /home/me/Notes
              files      12, 1 not read, 1 read in part
              passages   40
              embedder   minilm (384 numbers)
              index      exact, 2.9 MiB
              not read   /home/me/Notes/b.pdf: it is no PDF
              in part    /home/me/Notes/scan.pdf: page 1 needs OCR; page 2 needs OCR; page 3 needs OCR; and 2 more"#]].assert_eq(&lines(&standing(), Paint::plain()).join("\n"));
    }

    #[test]
    fn it_says_whether_the_embedder_is_there() {
        let says = |made_by: Option<&str>, here: Option<&str>| {
            let mut standing = standing();
            standing.collection.embedder = made_by.map(str::to_owned);
            standing.embedder_here = here.map(str::to_owned);
            embedder(&standing)
        };
        assert_eq!(says(Some("a"), Some("a")), "a (384 numbers)");
        assert_eq!(
            says(Some("a"), Some("b")),
            "a (384 numbers), which is not who embeds now: bring it back, or take b: resident kb rebuild notes"
        );
        assert_eq!(
            says(Some("a"), None),
            "a (384 numbers), which is not here; words alone count until it is"
        );
        assert_eq!(says(None, Some("b")), "none; b is here now: resident kb rebuild notes");
        assert_eq!(says(None, None), "none; passages are found by their words alone");
    }
}
