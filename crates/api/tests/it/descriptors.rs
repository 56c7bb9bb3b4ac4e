//! The protocol files against the descriptors inside the installed pymilvus.

use std::path::Path;
use std::process::Command;

#[test]
fn every_message_is_that_of_pymilvus() {
    let python = std::env::var_os("REDKITE_TEST_PYTHON").expect(
        "REDKITE_TEST_PYTHON is not set: run `cargo xtask test`, which makes a Python environment with pymilvus and sets it",
    );
    let dir = tempfile::tempdir().unwrap();
    let descriptors = dir.path().join("descriptors.bin");
    std::fs::write(&descriptors, redkite_api::proto::FILE_DESCRIPTOR_SET).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compare_descriptors.py");
    let output = Command::new(&python).arg(script).arg(&descriptors).output().expect("python starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
}
