//! Round trips, the exact bytes of the format, damage.

use super::*;

fn put(key: &str, value: &str, lease: Option<i64>) -> Record {
    Record {
        key: Arc::from(key),
        revision: Revision(7),
        value: Some(Bytes::from(value.to_owned())),
        create_revision: Revision(3),
        version: 2,
        lease: lease.map(LeaseId),
    }
}

fn change() -> Change {
    let records =
        vec![put("/a", "value", None), put("/b", "", Some(9)), Record::deletion(Arc::from("/ä"), Revision(7))];
    Change { revision: Revision(7), records: records.into_iter().map(Arc::new).collect() }
}

#[test]
fn what_was_written_is_read() {
    assert_eq!(decode_change(7, &encode_change(&change())).unwrap(), change());
    for record in [put("/a", "value", None), put("/b", "", Some(9))] {
        assert_eq!(decode_base(&record.key, &encode_base(&record).unwrap()).unwrap(), record);
    }
    assert_eq!(encode_base(&Record::deletion(Arc::from("/a"), Revision(7))), None);
}

#[test]
fn bytes_on_disk_are_those_of_format_1() {
    let mut base = vec![PUT];
    for number in [7_i64, 3, 2, 9] {
        base.extend(number.to_le_bytes());
    }
    base.extend([2, 0, 0, 0, b'h', b'i']);
    assert_eq!(encode_base(&put("/k", "hi", Some(9))).unwrap(), base);

    let mut log = vec![2, 0, 0, 0, 2, 0, 0, 0, b'/', b'k', PUT];
    for number in [3_i64, 2, 0] {
        log.extend(number.to_le_bytes());
    }
    log.extend([2, 0, 0, 0, b'h', b'i', 2, 0, 0, 0, b'/', b'z', DELETION]);
    let records = vec![Arc::new(put("/k", "hi", None)), Arc::new(Record::deletion(Arc::from("/z"), Revision(7)))];
    assert_eq!(encode_change(&Change { revision: Revision(7), records }), log);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let whole = encode_change(&change());
    for length in 0..whole.len() {
        assert!(matches!(decode_change(7, &whole[..length]), Err(Error::Corrupt(_))), "cut at {length}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(decode_change(7, &longer).is_err());
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        // Some flips only change a value; redb's checksums are there for those.
        let _ = decode_change(7, &bytes);
    }
    let base = encode_base(&put("/a", "value", None)).unwrap();
    for length in 0..base.len() {
        assert!(decode_base("/a", &base[..length]).is_err(), "cut at {length}");
    }
    assert!(decode_base("/a", &[DELETION]).is_err());
}
