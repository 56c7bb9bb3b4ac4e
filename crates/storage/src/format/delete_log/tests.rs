use proptest::prelude::*;

use super::*;

fn sample() -> BTreeMap<String, RoaringBitmap> {
    [
        ("f1/v100.arrow", RoaringBitmap::from_iter([1, 5, 70_000])),
        ("f2/v100.arrow", RoaringBitmap::from_iter(0..100_000)),
        ("f3/ü.arrow", RoaringBitmap::new()),
    ]
    .map(|(path, rows)| (path.to_owned(), rows))
    .into()
}

fn read_everything(bytes: Bytes) -> Result<BTreeMap<String, RoaringBitmap>> {
    let log = DeleteLog::open(bytes, "d")?;
    log.paths().map(|path| Ok((path.to_owned(), log.section(path)?))).collect()
}

#[test]
fn sets_round_trip() {
    for deleted in [BTreeMap::new(), sample()] {
        let file = DeleteLog::encode(&deleted).unwrap();
        assert_eq!(file.rows, deleted.values().map(RoaringBitmap::len).sum::<u64>());
        assert_eq!(file.crc32, crc32fast::hash(&file.bytes));
        assert_eq!(read_everything(file.bytes).unwrap(), deleted);
    }
    let log = DeleteLog::open(DeleteLog::encode(&sample()).unwrap().bytes, "d").unwrap();
    assert_eq!(log.deleted_rows("f1/v100.arrow"), Some(3));
    assert_eq!(log.deleted_rows("f9"), None);
    let error = log.section("f9").unwrap_err();
    assert_eq!(error.to_string(), "data file d is damaged: section f9: missing; restore it from a copy");
}

#[test]
fn whole_ranges_take_little_room() {
    let deleted = [("v".to_owned(), RoaringBitmap::from_iter(0..10_000_000))].into();
    assert!(DeleteLog::encode(&deleted).unwrap().bytes.len() < 4_000);
}

#[test]
fn every_flipped_bit_and_truncation_is_noticed() {
    let bytes = DeleteLog::encode(&sample()).unwrap().bytes;
    let is_corrupt = |result: Result<_>| matches!(result, Err(Error::Corrupt { .. }));
    let mut damaged = bytes.to_vec();
    for bit in 0..bytes.len() * 8 {
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(is_corrupt(read_everything(Bytes::copy_from_slice(&damaged))), "bit {bit}");
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..bytes.len() {
        assert!(is_corrupt(read_everything(bytes.slice(..len))), "length {len}");
    }
}

/// `bytes` with the checksum of the section table made right again.
fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let Some(table_len) = u32_at(&bytes, 16) else { return bytes };
    let end = HEADER_BYTES + table_len as usize;
    if end + 4 <= bytes.len() {
        let crc32 = crc32fast::hash(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&crc32.to_le_bytes());
    }
    bytes
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut bytes = DeleteLog::encode(&sample()).unwrap().bytes.to_vec();
    bytes[8] = 2;
    let error = DeleteLog::open(reseal(bytes).into(), "u/d").unwrap_err();
    assert_eq!(error, Error::NewerFormat { what: "u/d".to_owned(), found: 2, supported: 1 });
}

proptest! {
    #[test]
    fn any_sets_round_trip(sets in prop::collection::btree_map("[a-z/]{1,8}", prop::collection::btree_set(any::<u32>(), 0..50), 0..5)) {
        let deleted: BTreeMap<_, _> = sets.into_iter().map(|(path, rows)| (path, RoaringBitmap::from_iter(rows))).collect();
        prop_assert_eq!(read_everything(DeleteLog::encode(&deleted).unwrap().bytes).unwrap(), deleted);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), with_magic: bool) {
        let bytes = if with_magic { [&MAGIC[..], &bytes].concat() } else { bytes };
        prop_assert!(read_everything(bytes.into()).is_err());
    }

    /// Behind the checksums: damage that a checksum did not notice must still not panic.
    #[test]
    fn a_damaged_table_never_panics(changes in prop::collection::vec((8_usize..140, any::<u8>()), 1..4)) {
        let mut bytes = DeleteLog::encode(&sample()).unwrap().bytes.to_vec();
        for (at, value) in changes {
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
        }
        let _ = read_everything(reseal(bytes).into());
    }

    #[test]
    fn a_damaged_bitmap_never_panics(rows in prop::collection::vec(0_u32..200_000, 1..20), changes in prop::collection::vec((0_usize..100, any::<u8>()), 1..4)) {
        let mut bytes = Vec::new();
        RoaringBitmap::from_iter(rows).serialize_into(&mut bytes).unwrap();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let _ = RoaringBitmap::deserialize_from(&bytes[..]);
    }
}
