use super::{Dataset, inner_product};

#[test]
fn generated_data_is_the_same_every_time_and_of_unit_length() {
    let data = Dataset::generate(200, 3, 16);
    let again = Dataset::generate(200, 3, 16);
    assert_eq!(data.base, again.base);
    assert_eq!((data.base.rows, data.base.columns, data.queries.rows), (200, 16, 3));
    for row in 0..200 {
        let length = inner_product(data.base.row(row), data.base.row(row));
        assert!((length - 1.0).abs() < 0.01, "row {row}: {length}");
    }
    assert_ne!(data.base.row(0), data.base.row(1));
}

#[test]
fn the_nearest_rows_are_the_best_ones() {
    let data = Dataset::generate(200, 3, 16);
    for query in 0..3 {
        let score = |row: usize| inner_product(data.base.row(row), data.queries.row(query));
        let nearest: Vec<usize> = data.nearest.row(query).iter().map(|row| *row as usize).collect();
        assert!(nearest.windows(2).all(|pair| score(pair[0]) >= score(pair[1])));
        let worst = score(nearest[nearest.len() - 1]);
        assert_eq!((0..200).filter(|row| score(*row) >= worst).count(), nearest.len());
    }
}
