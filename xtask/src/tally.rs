//! How many tests passed and failed, read from what the test programs say.

use std::ops::AddAssign;

/// A count of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or could not run.
    pub failed: u64,
}

impl Tally {
    /// One check that passed.
    pub const PASSED: Tally = Tally { passed: 1, failed: 0 };
    /// One check that failed.
    pub const FAILED: Tally = Tally { passed: 0, failed: 1 };

    /// At least one failure where the program failed: it may have died before it counted any.
    pub fn with_success(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Counts from the output of `cargo test`: the sum over its binaries.
pub fn cargo_test(output: &str) -> Tally {
    let mut tally = Tally::default();
    for line in output.lines().filter(|line| line.starts_with("test result: ")) {
        tally += words_before(line, &["passed"], &["failed"]);
    }
    tally
}

/// Counts from the output of `cargo nextest run`: its summary line.
pub fn nextest(output: &str) -> Tally {
    let summary = output.lines().rfind(|line| line.trim_start().starts_with("Summary ["));
    // "(1 slow)" and the like say something about tests already counted.
    summary.map(|line| words_before(line, &["passed"], &["failed", "exec failed", "timed out"])).unwrap_or_default()
}

/// Counts from the output of pytest: its last line.
pub fn pytest(output: &str) -> Tally {
    let summary = output.lines().rfind(|line| is_pytest_summary(line));
    summary.map(|line| words_before(line, &["passed"], &["failed", "error", "errors"])).unwrap_or_default()
}

/// "=== 1 failed, 2 passed in 0.04s ===", "2 passed in 75.10s (0:01:15)".
fn is_pytest_summary(line: &str) -> bool {
    let Some((counts, time)) = line.trim_matches(['=', ' ']).rsplit_once(" in ") else {
        return false;
    };
    let starts_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    starts_with_digit(counts) && starts_with_digit(time)
}

/// Sums the numbers that stand right before one of the words.
fn words_before(line: &str, passed: &[&str], failed: &[&str]) -> Tally {
    let mut tally = Tally::default();
    for part in line.split([',', ';', ':', '(', ')', '.']) {
        let part = part.trim_matches(['=', ' ']);
        let Some((number, word)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        // pytest's last part goes on: "2 failed in 3".
        let word = word.split(" in ").next().unwrap_or(word);
        if passed.contains(&word) {
            tally.passed += number;
        } else if failed.contains(&word) {
            tally.failed += number;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::{Tally, cargo_test, nextest, pytest};

    fn check(count: fn(&str) -> Tally, output: &str, passed: u64, failed: u64) {
        assert_eq!(count(output), Tally { passed, failed }, "{output}");
    }

    #[test]
    fn cargo_test_sums_its_binaries() {
        let output = "test a ... ok\n\ntest result: ok. 8 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.06s\n\
            test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.02s\n";
        check(cargo_test, output, 10, 3);
        check(cargo_test, "error: could not compile", 0, 0);
    }

    #[test]
    fn nextest_says_it_in_its_summary() {
        check(nextest, "     Summary [   2.103s] 11 tests run: 11 passed, 0 skipped\n", 11, 0);
        check(
            nextest,
            "     Summary [   0.1s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 4 skipped\n",
            10,
            2,
        );
        check(nextest, "     Summary [   0.1s] 2/5 tests run: 1 passed, 1 exec failed, 0 skipped\n", 1, 1);
        check(nextest, "     Summary [   0.1s] 3 tests run: 3 passed (1 flaky), 0 skipped", 3, 0);
    }

    #[test]
    fn pytest_says_it_in_its_last_line() {
        check(pytest, "....\n10 passed in 1.20s\n", 10, 0);
        check(pytest, "== 3 failed, 10 passed, 1 skipped, 2 errors in 75.10s (0:01:15) ==", 10, 5);
        check(pytest, "======== 1 failed in 0.04s ========\n", 0, 1);
        check(pytest, "======== 5 deselected in 0.04s ========\n", 0, 0);
    }

    #[test]
    fn a_program_that_dies_counts_as_a_failure() {
        assert_eq!(Tally::default().with_success(false), Tally::FAILED);
        assert_eq!(Tally { passed: 2, failed: 3 }.with_success(false), Tally { passed: 2, failed: 3 });
        assert_eq!(Tally::PASSED.with_success(true), Tally::PASSED);
    }
}
