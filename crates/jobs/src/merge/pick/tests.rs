//! Merging is planned as the scheme says.

use redkite_table::entry::{FORMAT, FileEntry, FileType};
use redkite_table::{Collection, File};
use redkite_types::FieldId;

use super::*;

/// A fragment made at revision `at`, with so many rows of which some are deleted.
fn fragment(at: i64, rows: u64, deleted: u64) -> Arc<Fragment> {
    let id = FragmentId::new(Revision(at), 7);
    let entry = FileEntry {
        format: FORMAT,
        file_type: FileType::RawVector,
        size: rows * 4,
        crc32: 0,
        node: 1,
        cluster: "c".into(),
        rows,
        field: Some(FieldId(101)),
        column: Some("v".into()),
        vector_file: None,
        vector_files: Vec::new(),
        delete_log: None,
        deleted,
        keys: None,
        committed_ms: 0,
    };
    let path = format!("{id}/v101.arrow");
    let file = File { path: path.as_str().into(), entry, created: Revision(at), modified: Revision(at) };
    Arc::new(Fragment::new(id, vec![file]))
}

fn collection(fragments: &[(u64, u64)]) -> Collection {
    let fragments = fragments.iter().enumerate();
    let fragments = fragments.map(|(at, (rows, deleted))| fragment(at as i64 + 1, *rows, *deleted));
    Collection::of_fragments("films", fragments.collect())
}

fn options() -> MergeOptions {
    MergeOptions { target_rows: 1_000, ..MergeOptions::default() }
}

/// The revisions of the fragments that are merged, and that of the one behind.
fn check(eagerness: Eagerness, sizes: &[(u64, u64)], want: Option<(&[i64], Option<i64>)>) {
    let plan = pick(&collection(sizes), Revision(1_000_000), &options(), &Wanted::all(eagerness));
    let found = plan.as_ref().map(|plan| {
        let inputs: Vec<i64> = plan.inputs.iter().map(|input| input.id.revision().0).collect();
        (inputs, plan.next.map(|next| next.revision().0))
    });
    assert_eq!(found, want.map(|(inputs, next)| (inputs.to_vec(), next)), "{sizes:?}");
}

#[test]
fn a_tier_is_merged_when_it_is_full() {
    check(Eagerness::Tiered, &[(10, 0); 7], None);
    check(Eagerness::Tiered, &[(10, 0); 8], Some((&[1, 2, 3, 4, 5, 6, 7, 8], None)));
    // Larger ones before them stay; smaller ones between them go along.
    let mut sizes = vec![(100, 0), (80, 0)];
    sizes.extend([(10, 0); 4]);
    sizes.push((1, 0));
    sizes.extend([(10, 0); 4]);
    sizes.push((200, 0));
    check(Eagerness::Tiered, &sizes, Some((&[3, 4, 5, 6, 7, 8, 9, 10, 11], Some(12))));
}

#[test]
fn full_fragments_are_left_alone_and_separate() {
    check(Eagerness::Tiered, &[(500, 0); 20], None);
    check(Eagerness::All, &[(500, 0); 20], None);
    check(Eagerness::All, &[(500, 0), (10, 0), (500, 0), (10, 0)], None);
    // What lies between two full ones gets no further neighbours.
    check(Eagerness::Tiered, &[(500, 0), (10, 0), (300, 0), (500, 0), (10, 0), (10, 0)], Some((&[2, 3], Some(4))));
}

#[test]
fn a_merge_stops_at_the_target() {
    check(Eagerness::All, &[(400, 0); 4], Some((&[1, 2], Some(3))));
    check(Eagerness::Tiered, &[(200, 0); 8], Some((&[1, 2, 3, 4, 5], Some(6))));
}

#[test]
fn what_is_mostly_deleted_is_rewritten_and_what_is_empty_goes() {
    check(Eagerness::Tiered, &[(900, 100)], None);
    check(Eagerness::Tiered, &[(900, 300)], Some((&[1], None)));
    check(Eagerness::Tiered, &[(900, 0), (50, 50), (10, 10), (900, 0)], Some((&[2, 3], Some(4))));
}

#[test]
fn what_is_not_settled_is_left_alone() {
    let collection = collection(&[(10, 0); 20]);
    let plan = pick(&collection, Revision(9), &options(), &Wanted::all(Eagerness::Tiered)).unwrap();
    assert_eq!(plan.inputs.len(), 8);
    assert_eq!(plan.next, Some(FragmentId::new(Revision(9), 7)));
    assert!(pick(&collection, Revision(8), &options(), &Wanted::all(Eagerness::Tiered)).is_none());
}

#[test]
fn what_cannot_be_read_parts_its_neighbours() {
    let collection = collection(&[(10, 0), (10, 0), (10, 0), (10, 10), (10, 0), (10, 0)]);
    let bad = |at: i64| FragmentId::new(Revision(at), 7);
    let check = |without: &[i64], want: Option<&[i64]>| {
        let without = without.iter().copied().map(bad).collect();
        let wanted = Wanted { without, ..Wanted::all(Eagerness::All) };
        let plan = pick(&collection, Revision(1_000_000), &options(), &wanted);
        let found = plan.map(|plan| plan.inputs.iter().map(|input| input.id.revision().0).collect::<Vec<_>>());
        assert_eq!(found.as_deref(), want, "{wanted:?}");
    };
    check(&[], Some(&[4]));
    check(&[4], Some(&[1, 2, 3]));
    check(&[2, 4], Some(&[5, 6]));
    check(&[2, 4, 5], None);
}

#[test]
fn a_growing_collection_keeps_few_fragments_and_rewrites_a_row_once_a_tier() {
    let mut sizes: Vec<(u64, u64)> = Vec::new();
    let mut rewritten = 0;
    for flush in 0..1_000 {
        sizes.push((10, 0));
        while let Some(plan) =
            pick(&collection(&sizes), Revision(1_000_000), &options(), &Wanted::all(Eagerness::Tiered))
        {
            let at = plan.inputs[0].id.revision().0 as usize - 1;
            let rows: u64 = sizes[at..at + plan.inputs.len()].iter().map(|(rows, _)| rows).sum();
            rewritten += rows;
            sizes.splice(at..at + plan.inputs.len(), [(rows, 0)]);
        }
        assert!(sizes.len() <= 40, "{} fragments after {flush} flushes", sizes.len());
    }
    assert!(rewritten <= 10_000 * 5, "{rewritten} rows rewritten");
    assert_eq!(sizes.iter().map(|(rows, _)| rows).sum::<u64>(), 10_000);
}

#[test]
fn planning_ends_and_is_linear() {
    let many = collection(&vec![(10, 0); 10_000]);
    let options = MergeOptions { target_rows: 100_000, ..options() };
    assert_eq!(
        pick(&many, Revision(1_000_000), &options, &Wanted::all(Eagerness::Tiered)).map(|plan| plan.inputs.len()),
        Some(100)
    );
    assert_eq!(unmerged(&many, &options), 10_000);
}
