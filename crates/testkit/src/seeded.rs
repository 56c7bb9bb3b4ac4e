//! Random numbers that a failing test can repeat.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// A generator that knows its seed and says so when the test panics.
///
/// The seed is `REDKITE_TEST_SEED` where that is set, else the one the test names, so runs are alike by default.
#[derive(Debug)]
pub struct Seeded {
    seed: u64,
    /// The generator itself; `use rand::RngExt` for its methods.
    pub rng: StdRng,
}

impl Seeded {
    /// A generator from `default_seed`, unless the environment names another seed.
    pub fn new(default_seed: u64) -> Self {
        let from_env = std::env::var("REDKITE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        Self::from_seed(from_env.unwrap_or(default_seed))
    }

    /// A generator from exactly this seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { seed, rng: StdRng::seed_from_u64(seed) }
    }

    /// What to set `REDKITE_TEST_SEED` to for the same numbers.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with REDKITE_TEST_SEED={}", self.seed);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::Seeded;

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| Seeded::from_seed(seed).rng.next_u64();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
