use super::{Matrix, parse};

fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn arrays_are_read() {
    let data: Vec<u8> = (1..=6i32).flat_map(i32::to_le_bytes).collect();
    let expected = Matrix { rows: 2, columns: 3, values: vec![1, 2, 3, 4, 5, 6] };
    for version in [1, 2, 3] {
        let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }   \n";
        let matrix = parse(&file(version, header, &data), "<i4", i32::from_le_bytes).unwrap();
        assert_eq!(matrix, expected);
        assert_eq!(matrix.row(1), [4, 5, 6]);
    }
}

#[test]
fn what_is_not_expected_is_refused() {
    let good = "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }";
    let cases = [
        (file(1, good, &[0; 7]), "do not take 7 bytes"),
        (file(1, good, &[0; 12]), "do not take 12 bytes"),
        (file(9, good, &[0; 8]), "version"),
        (b"\x93NUMPY\x01\x00\xff\xffx".to_vec(), "truncated"),
        (b"PK".to_vec(), "no .npy"),
        (file(1, &good.replace("<i4", "<f4"), &[0; 8]), "wanted '<i4'"),
        (file(1, &good.replace("False", "True"), &[0; 8]), "Fortran"),
        (file(1, &good.replace("(1, 2)", "(2,)"), &[0; 8]), "1 dimensions"),
        (file(1, &good.replace("(1, 2)", "(18446744073709551615, 2)"), &[0; 8]), "do not take"),
        (file(1, &good.replace("(1, 2)", "(x, 2)"), &[0; 8]), "number of rows"),
        (file(1, "{'descr': '<i4'}", &[]), "no fortran_order"),
    ];
    for (bytes, expected) in cases {
        let error = format!("{:#}", parse(&bytes, "<i4", i32::from_le_bytes).unwrap_err());
        assert!(error.contains(expected), "{error} does not say {expected}");
    }
}
