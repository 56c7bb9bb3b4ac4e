//! `redkite admin`: asks a running server to merge or collect, or what fragments it has.
//!
//! For people a few lines, with `--json` what the server answered.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::ask::{Target, ask};
use crate::cli::{AdminArgs, AdminCommand};

/// How long merging or collecting may take before the question is given up; the server goes on.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Asks and prints.
pub fn run(command: AdminCommand) -> Result<()> {
    let (method, path, args, show): (_, _, AdminArgs, fn(&Value) -> String) = match command {
        AdminCommand::Merge { args, collection } => ("POST", path_of("merge", collection.as_deref()), args, merged),
        AdminCommand::Gc { args, collection } => ("POST", path_of("gc", collection.as_deref()), args, collected),
        AdminCommand::Fragments { args, collection } => {
            ("GET", path_of("fragments", collection.as_deref()), args, fragments)
        }
    };
    let server = Target::named("--address", &args.address, &args.tls)?;
    let answer = ask(&server, method, &path, PATIENCE).with_context(|| {
        format!("the server at {} (its --http port, see --address) could not be asked", args.address)
    })?;
    let text = if args.json {
        format!("{}\n", answer.trim())
    } else {
        show(&serde_json::from_str(&answer).context("the server's answer is no JSON")?)
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to stdout")
}

fn path_of(what: &str, collection: Option<&str>) -> String {
    let mut path = format!("/admin/{what}");
    if let Some(collection) = collection {
        path.push('/');
        for byte in collection.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                path.push(char::from(byte));
            } else {
                _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn merged(answer: &Value) -> String {
    let mut text = String::new();
    for collection in answer.as_array().into_iter().flatten() {
        let name = collection["collection"].as_str().unwrap_or_default();
        _ = match number(collection, "merges") {
            0 => writeln!(text, "{name}: nothing to merge"),
            merges => writeln!(
                text,
                "{name}: {} fragments became {merges}, {} rows ({} bytes) written",
                number(collection, "fragments_merged"),
                number(collection, "rows_written"),
                number(collection, "bytes_written"),
            ),
        };
    }
    if text.is_empty() { "there are no collections\n".to_owned() } else { text }
}

fn collected(answer: &Value) -> String {
    let standing = &answer["standing"];
    format!(
        "removed {} files ({} bytes, {} of the files never committed) and {} metadata keys\n\
         live {} bytes in {} fragments ({} unmerged), retained for readers of the past {} bytes, garbage {} bytes\n\
         {} tombstones; the oldest revision in use is {} ({}), the oldest that can be read {}\n",
        number(answer, "files_removed"),
        number(answer, "bytes_removed"),
        number(answer, "never_committed"),
        number(answer, "keys_removed"),
        number(standing, "bytes_live"),
        number(standing, "fragments"),
        number(standing, "unmerged"),
        number(standing, "bytes_retained"),
        number(standing, "bytes_garbage"),
        number(standing, "tombstones"),
        number(standing, "oldest_floor"),
        standing["oldest_floor_holder"].as_str().unwrap_or_default(),
        number(standing, "horizon"),
    )
}

fn fragments(answer: &Value) -> String {
    let mut text = format!("{:<24} {:>12} {:>12} {:>14}  fragment\n", "collection", "rows", "deleted", "bytes");
    for fragment in answer.as_array().into_iter().flatten() {
        _ = writeln!(
            text,
            "{:<24} {:>12} {:>12} {:>14}  {}",
            fragment["collection"].as_str().unwrap_or_default(),
            number(fragment, "rows"),
            number(fragment, "deleted_rows"),
            number(fragment, "bytes"),
            fragment["fragment"].as_str().unwrap_or_default(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_cannot_leave_the_path() {
        assert_eq!(path_of("merge", None), "/admin/merge");
        assert_eq!(path_of("merge", Some("films_1")), "/admin/merge/films_1");
        assert_eq!(path_of("merge", Some("a b&c\r\n")), "/admin/merge/a%20b%26c%0D%0A");
    }

    #[test]
    fn people_read_what_happened() {
        let answer = json!([
            {"collection": "a", "merges": 2, "fragments_merged": 16, "rows_written": 80, "bytes_written": 9},
            {"collection": "b", "merges": 0, "fragments_merged": 0, "rows_written": 0, "bytes_written": 0},
        ]);
        assert_eq!(merged(&answer), "a: 16 fragments became 2, 80 rows (9 bytes) written\nb: nothing to merge\n");
        assert_eq!(merged(&json!([])), "there are no collections\n");
    }
}
