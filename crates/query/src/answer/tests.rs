//! What is answered is what is read, and what does not fit the request is refused.

use std::sync::Arc;

use arrow_array::{Int64Array, StringArray};

use super::*;

const TO: u32 = 5;

/// Fragments at places 2 and 7, of 10 and 20 rows.
fn asked() -> Asked {
    Asked { id: TO, fragments: vec![(2, 10), (7, 20)], key: DataType::Int64 }
}

fn run(place: usize, rows: &[u32]) -> KeyRun {
    let keys = rows.iter().map(|row| i64::from(*row) * 100 + place as i64).collect::<Int64Array>();
    KeyRun { place, rows: rows.to_vec(), keys: Arc::new(keys) }
}

fn hit(place: usize, row: u32, score: f32) -> Hit {
    Hit { score, row: RowId::new(place, row).0 }
}

fn plain(runs: &[KeyRun]) -> Vec<(usize, Vec<u32>, ArrayRef)> {
    runs.iter().map(|run| (run.place, run.rows.clone(), run.keys.clone())).collect()
}

#[test]
fn hits_arrive_with_their_keys_and_scores() {
    let first = TopHits { hits: vec![hit(1, 3, -0.5), hit(0, 9, f32::NAN), hit(1, 0, 1e-40)], ties_overflowed: true };
    let tops = [(first, vec![run(0, &[9]), run(1, &[0, 3])]), Default::default()];
    let answer = scored(TO, &tops, &DataType::Int64).unwrap();
    let told = asked().scored(&answer, 2, 3).unwrap();
    let hits: Vec<_> = told[0].0.hits.iter().map(|hit| (hit.row, hit.score.to_bits())).collect();
    let want = [(2, 9, f32::NAN), (7, 0, 1e-40), (7, 3, -0.5)];
    assert_eq!(hits, want.map(|(place, row, score)| (RowId::new(place, row).0, score.to_bits())));
    assert!(told[0].0.ties_overflowed && !told[1].0.ties_overflowed && told[1].0.hits.is_empty());
    let of = |place, rows: &[u32], keys: Vec<i64>| (place, rows.to_vec(), Arc::new(Int64Array::from(keys)) as ArrayRef);
    assert_eq!(plain(&told[0].1), [of(2, &[9], vec![900]), of(7, &[0, 3], vec![1, 301])]);
    // Not as many queries, or more hits than were asked for.
    assert!(asked().scored(&answer, 1, 3).is_err() && asked().scored(&answer, 2, 2).is_err());
    assert!(asked().selected(&answer, 9).is_err() && asked().counted(&answer).is_err());
    assert!(Asked { id: 6, ..asked() }.scored(&answer, 2, 3).is_err());
}

#[test]
fn rows_that_were_not_asked_for_are_refused() {
    let told = |runs: &[KeyRun], most| asked().selected(&selected(TO, runs, &DataType::Int64).unwrap(), most);
    assert_eq!(told(&[run(0, &[9]), run(1, &[0, 19])], 3).unwrap().len(), 2);
    assert!(told(&[], 0).unwrap().is_empty());
    for (runs, what) in [
        (vec![run(0, &[10])], "a row behind the end"),
        (vec![run(2, &[0])], "another fragment"),
        (vec![run(0, &[3, 3])], "twice the same"),
        (vec![run(1, &[0]), run(0, &[0])], "not ascending"),
        (vec![run(0, &[0, 1, 2, 3])], "too many"),
    ] {
        assert!(told(&runs, 3).is_err(), "{what}");
    }
    let mut texts = run(0, &[0]);
    texts.keys = Arc::new(StringArray::from(vec!["a"]));
    assert!(told(&[texts], 3).is_err(), "keys of another type");
    let mut null = run(0, &[0]);
    null.keys = Arc::new(Int64Array::from(vec![None]));
    assert!(told(&[null], 3).is_err(), "a key that is none");
}

#[test]
fn a_number_is_at_most_that_of_all_rows() {
    assert_eq!(asked().counted(&counted(TO, 30).unwrap()).unwrap(), 30);
    assert!(asked().counted(&counted(TO, 31).unwrap()).is_err());
}
