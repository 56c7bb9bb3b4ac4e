//! Fragments, breaks and endings, from made-up responses.

use etcd_client::proto::{PbEvent, PbKeyValue, PbResponseHeader, PbWatchResponse};

use super::*;

fn put(key: &str, revision: i64) -> PbEvent {
    let kv = PbKeyValue { key: key.into(), mod_revision: revision, ..Default::default() };
    PbEvent { r#type: EventType::Put as i32, kv: Some(kv), prev_kv: None }
}

fn delete(key: &str, revision: i64) -> PbEvent {
    PbEvent { r#type: EventType::Delete as i32, ..put(key, revision) }
}

fn response(events: Vec<PbEvent>, fragment: bool) -> WatchResponse {
    let header = Some(PbResponseHeader { revision: 1_000, ..Default::default() });
    WatchResponse(PbWatchResponse { header, events, fragment, ..Default::default() })
}

fn take(assembly: &mut Assembly, response: WatchResponse) -> std::result::Result<(), Failure> {
    assembly.take(response, &KeyRange::Prefix("/".to_owned()))
}

/// What is ready, as text, and where it would be taken up again.
fn ready(assembly: &mut Assembly) -> String {
    let batches = assembly.ready.drain(..).map(|batch| {
        let events = batch.events.iter().map(|event| match event {
            Event::Put(kv) => kv.key.clone(),
            Event::Delete { key, .. } => format!("{key}!"),
        });
        format!("{}:{} ", batch.revision, events.collect::<Vec<_>>().join(","))
    });
    format!("{}from {}", batches.collect::<String>(), assembly.from)
}

#[test]
fn fragments_are_put_together_to_whole_revisions() {
    let mut assembly = Assembly::new(Revision(5));
    take(&mut assembly, response(vec![put("a", 5), put("b", 6)], true)).unwrap();
    assert_eq!(ready(&mut assembly), "5:a from 6");
    take(&mut assembly, response(vec![put("c", 6)], true)).unwrap();
    assert_eq!(ready(&mut assembly), "from 6");
    take(&mut assembly, response(vec![put("d", 6), put("a", 9)], false)).unwrap();
    assert_eq!(ready(&mut assembly), "6:b,c,d 9:a from 10");
    take(&mut assembly, response(vec![put("a", 10)], false)).unwrap();
    assert_eq!(ready(&mut assembly), "10:a from 11");
}

#[test]
fn a_partial_revision_is_asked_for_again_after_a_break() {
    let mut assembly = Assembly::new(Revision(5));
    take(&mut assembly, response(vec![put("a", 5), put("a", 6)], true)).unwrap();
    assembly.drop_partial();
    assert_eq!(ready(&mut assembly), "5:a from 6");
    // Taken up one revision early, of which nothing is reported twice.
    take(&mut assembly, response(vec![put("a", 5), put("a", 6), put("b", 6)], false)).unwrap();
    assert_eq!(ready(&mut assembly), "6:a,b from 7");
}

#[test]
fn events_come_in_key_order_and_one_a_key() {
    let mut assembly = Assembly::new(Revision(5));
    take(&mut assembly, response(vec![put("c", 5), put("a", 5), put("b", 5), delete("a", 5)], false)).unwrap();
    assert_eq!(ready(&mut assembly), "5:a!,b,c from 6");
}

#[test]
fn only_an_idle_report_moves_on_without_events() {
    let mut assembly = Assembly::new(Revision(5));
    let mut created = response(Vec::new(), false);
    created.0.created = true;
    take(&mut assembly, created).unwrap();
    assert_eq!(ready(&mut assembly), "from 5");
    take(&mut assembly, response(vec![put("a", 5)], true)).unwrap();
    take(&mut assembly, response(Vec::new(), true)).unwrap();
    assert_eq!(ready(&mut assembly), "from 5");
    take(&mut assembly, response(Vec::new(), false)).unwrap();
    assert_eq!(ready(&mut assembly), "5:a from 6");
    take(&mut assembly, response(Vec::new(), false)).unwrap();
    assert_eq!(ready(&mut assembly), "from 1001");
}

#[test]
fn endings_are_told_apart() {
    let cancelled = |compact_revision, reason: &str| {
        let mut message = response(Vec::new(), false);
        message.0.canceled = true;
        message.0.compact_revision = compact_revision;
        message.0.cancel_reason = reason.to_owned();
        take(&mut Assembly::new(Revision(5)), message).unwrap_err()
    };
    let compacted = Error::Compacted { asked: Revision(5), oldest: Revision(7) };
    assert!(matches!(cancelled(7, ""), Failure::Final(error) if error.to_string() == compacted.to_string()));
    assert!(matches!(cancelled(0, "etcdserver: no leader"), Failure::Transient(_)));
    for refused in ["rpc error: permission denied", "invalid auth token"] {
        assert!(matches!(cancelled(0, refused), Failure::Denied(Error::Unavailable(_))));
    }
}

#[test]
fn keys_that_are_not_text_are_an_error() {
    let mut event = put("a", 5);
    event.kv.as_mut().unwrap().key = vec![0xff];
    let answer = take(&mut Assembly::new(Revision(5)), response(vec![event], false));
    assert!(matches!(answer, Err(Failure::Final(Error::Corrupt(_)))));
}
