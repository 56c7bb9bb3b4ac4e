//! Names of past states: `films@186523` is the collection as of a revision, `films@2026-11-22T06:00:00Z` as of a time.
//! `@` cannot occur in a name, so nothing else is meant by it.

use std::time::UNIX_EPOCH;

use redkite_table::Moment;
use redkite_types::Revision;

use crate::status::{WireResult, invalid_parameter};

/// What stands between a name and the moment.
const AT: char = '@';

/// The collection and the moment that a name is about; none if it names the present state.
pub fn past_of(name: &str) -> WireResult<Option<(&str, Moment)>> {
    let Some((collection, moment)) = name.split_once(AT) else {
        return Ok(None);
    };
    let revision = || moment.bytes().all(|byte| byte.is_ascii_digit()).then(|| moment.parse::<i64>().ok())?;
    let time = || {
        let time = humantime::parse_rfc3339_weak(moment).ok()?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(time.as_millis()).ok()
    };
    let parsed = revision().map(|revision| Moment::Revision(Revision(revision))).or_else(|| time().map(Moment::Time));
    match parsed {
        Some(moment) => Ok(Some((collection, moment))),
        None => Err(invalid_parameter(format!(
            "{name:?} names no past state: want a revision as in {collection}@186523, or a time in UTC as in \
             {collection}@2026-11-22T06:00:00Z"
        ))),
    }
}

/// Refuses the name of a past state: that can be read, nothing else.
pub fn refuse_past(name: &str) -> WireResult<()> {
    match name.split_once(AT) {
        None => Ok(()),
        Some((collection, _)) => Err(invalid_parameter(format!(
            "{name} is a past state of collection {collection}, which can be searched, queried, counted and described, \
             and never changed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_revisions_or_times() {
        let check = |name: &str, want: Option<(&str, Moment)>| assert_eq!(past_of(name).unwrap(), want, "{name}");
        check("films", None);
        check("films@186523", Some(("films", Moment::Revision(Revision(186_523)))));
        check("films@1970-01-01T00:00:01Z", Some(("films", Moment::Time(1_000))));
        check("films@1970-01-01T00:00:01.250Z", Some(("films", Moment::Time(1_250))));
        check("films@1970-01-01 00:00:02", Some(("films", Moment::Time(2_000))));
    }

    #[test]
    fn other_texts_are_refused_with_what_would_be_valid() {
        for name in ["films@", "films@yesterday", "films@-5", "films@1@2", "films@99999999999999999999", "@"] {
            let error = past_of(name).unwrap_err().to_string();
            assert!(error.contains("@186523"), "{name}: {error}");
            assert!(refuse_past(name).is_err());
        }
        assert!(refuse_past("films").is_ok());
    }
}
