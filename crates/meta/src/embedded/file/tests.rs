//! Growing and failing to.

use super::*;

#[test]
fn a_growth_that_fails_leaves_the_file_as_it_was() {
    let file = tempfile::tempfile().unwrap();
    let backend = ReservingFile::new(file).unwrap();
    backend.set_len(1 << 20).unwrap();
    backend.write(100, b"there").unwrap();
    assert!(backend.set_len(1 << 62).is_err());
    assert_eq!(backend.len().unwrap(), 1 << 20);
    let mut read = [0; 5];
    backend.read(100, &mut read).unwrap();
    assert_eq!(&read, b"there");
    backend.set_len(1 << 19).unwrap();
    assert_eq!(backend.len().unwrap(), 1 << 19);
}
