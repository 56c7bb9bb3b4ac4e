//! `--dump-config`: what is in force, as a file that can be used as it is.

use super::kind::Kind;
use super::settings::{Setting, Settings};

impl Settings {
    /// TOML with a comment above every key: what it is for and where its value came from.
    ///
    /// A secret is mentioned and left out, so a file made from this needs it added.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let mut current = "";
        for setting in self.iter() {
            let (section, name) = setting.key.name.split_once('.').unwrap_or(("", setting.key.name));
            if section != current {
                current = section;
                text.push_str(&format!("[{section}]\n"));
            }
            text.push_str(&format!("# {} [{}]\n{}\n\n", setting.key.doc, setting.origin, line(name, setting)));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

fn line(name: &str, setting: &Setting) -> String {
    let is_empty = setting.reading.shown.as_str().is_some_and(str::is_empty);
    match setting.key.kind {
        Kind::Secret if !is_empty => format!("# {name} is set, but not shown"),
        _ => format!("{name} = {}", setting.reading.shown),
    }
}
