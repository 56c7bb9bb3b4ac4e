//! The form of a dump of the metadata: JSON lines, for people, for programs, and for `redkite meta restore`.
//!
//! | line | what |
//! |---|---|
//! | first | `{"redkite_dump":1,"revision":R,"users":{"alice":r}}`: the format; the store's revision; each user's |
//! | each of the others | `{"key":...,"value":...,"create_revision":...,"mod_revision":...}` |
//! | last | `{"keys":N,"sha256":"..."}`: how many keys, and the checksum of all bytes before this line |
//!
//! A value is as it is where it is JSON; else it is a text, with `"text":true` behind it, and where it is none, with
//! `"lossy":true` as well: then it cannot be restored. The keys of a user have revisions as the user sees them, with the base
//! that an earlier restore has added.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use redkite_meta::KeyValue;
use redkite_meta::keys::{USER_LIST, UserKeys};
use redkite_table::restore::DumpedUser;
use redkite_types::{Revision, UserName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The newest format, and the one that is written.
const FORMAT: u32 = 1;
/// Largest dump that is read: it is held in memory, and some hundred bytes a file make this millions of files.
const BYTES_MAX: u64 = 8 << 30;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    redkite_dump: u32,
    revision: Revision,
    users: BTreeMap<UserName, Revision>,
}

/// A key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    key: String,
    #[serde(borrow)]
    value: &'l RawValue,
    #[serde(default)]
    text: bool,
    #[serde(default)]
    lossy: bool,
    #[expect(dead_code, reason = "for people; what is restored gets new ones")]
    create_revision: i64,
    mod_revision: Revision,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    keys: usize,
    sha256: String,
}

/// A dump under construction.
#[derive(Debug)]
pub struct Writer {
    text: String,
    keys: usize,
}

impl Writer {
    /// Of a store at `revision`, which is at those revisions for its users.
    pub fn new(revision: Revision, users: BTreeMap<UserName, Revision>) -> Result<Self> {
        let head = serde_json::to_string(&Head { redkite_dump: FORMAT, revision, users })?;
        Ok(Self { text: head + "\n", keys: 0 })
    }

    /// Adds a key.
    pub fn add(&mut self, kv: &KeyValue) -> Result<()> {
        let key = serde_json::to_string(&kv.key)?;
        let (value, kind) = value(&kv.value)?;
        let (created, modified) = (kv.create_revision, kv.mod_revision);
        // Written by hand for the order: who looks at it looks for the key first.
        writeln!(
            self.text,
            "{{\"key\":{key},\"value\":{value}{kind},\"create_revision\":{created},\"mod_revision\":{modified}}}"
        )?;
        self.keys += 1;
        Ok(())
    }

    /// All of it.
    pub fn finish(mut self) -> Result<String> {
        let tail = Tail { keys: self.keys, sha256: checksum(self.text.as_bytes()) };
        self.text += &serde_json::to_string(&tail)?;
        self.text.push('\n');
        Ok(self.text)
    }
}

/// A value as it stands in a line, and what is to be said of it.
fn value(bytes: &[u8]) -> Result<(String, &'static str)> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok((serde_json::to_string(&String::from_utf8_lossy(bytes))?, ",\"text\":true,\"lossy\":true"));
    };
    // To the byte. One that a person has put on several lines would break this one; and what stands around it would be lost.
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if raw.get() == text && !text.contains('\n') => Ok((text.to_owned(), "")),
        _ => Ok((serde_json::to_string(text)?, ",\"text\":true")),
    }
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a dump that was just written has no users.
pub fn is_empty(text: &str) -> bool {
    let head = text.lines().next().and_then(|line| serde_json::from_str::<Head>(line).ok());
    head.is_some_and(|head| head.users.is_empty())
}

/// A dump that was read.
#[derive(Debug)]
pub struct Dump {
    /// The users in it.
    pub users: Vec<DumpedUser>,
    /// Its checksum.
    pub sha256: String,
}

/// Reads a dump; refused unless it is whole and as it was written.
pub fn read(path: &Path) -> Result<Dump> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
    if size > BYTES_MAX {
        bail!("{shown} is {size} bytes long; a dump is read up to {BYTES_MAX}");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    parse(&text).with_context(|| format!("{shown} cannot be restored"))
}

fn parse(text: &str) -> Result<Dump> {
    /// All that may be relied on in a newer format.
    #[derive(Deserialize)]
    struct Format {
        redkite_dump: u32,
    }
    let (first, _) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(Format { redkite_dump: found }) = serde_json::from_str(first) else {
        bail!("it is no dump, or one of a version before dumps could be restored: its first line says no format");
    };
    if found > FORMAT {
        bail!("it has format {found}, this version reads up to {FORMAT}; use a newer redkite");
    }
    let body = text.strip_suffix('\n').and_then(|text| text.rfind('\n')).map(|at| text.split_at(at + 1));
    let tail = body.and_then(|(body, last)| Some((body, serde_json::from_str::<Tail>(last).ok()?)));
    let Some((body, Tail { keys, sha256 })) = tail else {
        bail!("its end is missing: it was cut off");
    };
    if checksum(body.as_bytes()) != sha256 {
        bail!("its checksum is wrong: it was damaged or edited");
    }
    let head: Head = serde_json::from_str(first).context("its first line")?;
    let mut users: Vec<DumpedUser> =
        head.users.into_iter().map(|(user, revision)| DumpedUser { user, revision, entries: Vec::new() }).collect();
    let prefixes: Vec<String> = users.iter().map(|dumped| UserKeys::new(&dumped.user).all().to_owned()).collect();
    let mut found = 0;
    for (number, line) in body.lines().enumerate().skip(1) {
        let line: Line<'_> = serde_json::from_str(line).with_context(|| format!("its line {}", number + 1))?;
        found += 1;
        if line.key == USER_LIST {
            continue;
        }
        let Some(at) = prefixes.iter().position(|prefix| line.key.starts_with(prefix)) else {
            bail!("{} is of none of its users", line.key);
        };
        if line.mod_revision > users[at].revision {
            bail!("{} is of revision {}, after the dump", line.key, line.mod_revision);
        }
        let value = match (line.lossy, line.text) {
            (true, _) => bail!("the value of {} is no text, and dumps tell only texts to the byte", line.key),
            (false, true) => serde_json::from_str::<String>(line.value.get())?,
            (false, false) => line.value.get().to_owned(),
        };
        users[at].entries.push((line.key, Bytes::from(value)));
    }
    if found != keys {
        bail!("it has {found} keys, and says that it has {keys}");
    }
    Ok(Dump { users, sha256 })
}

#[cfg(test)]
mod tests;
