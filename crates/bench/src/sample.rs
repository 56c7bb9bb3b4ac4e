//! Repeated measurements of one quantity.

use std::time::Duration;

/// What was measured, one number a repetition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one repetition.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Number of repetitions.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one added last; 0 of none.
    pub fn last(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// The middle one; of an even number the mean of the two in the middle; 0 of none.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let half = sorted.len() / 2;
        match sorted.len() {
            0 => 0.0,
            count if count % 2 == 1 => sorted[half],
            _ => f64::midpoint(sorted[half - 1], sorted[half]),
        }
    }

    /// The smallest one; 0 of none.
    pub fn least(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(0.0)
    }

    /// The largest one; 0 of none.
    pub fn largest(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(0.0)
    }

    /// The least one that so large a share of them does not exceed; 0 of none.
    pub fn percentile(&self, share: f64) -> f64 {
        let sorted = self.sorted();
        let at = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(at.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// In microseconds.
pub fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// In millions of bytes.
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn medians() {
        let cases: [(&[f64], f64); 4] =
            [(&[], 0.0), (&[3.0], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 100.0], 3.0)];
        for (values, median) in cases {
            let samples = Samples(values.to_vec());
            assert_eq!(samples.median(), median, "{values:?}");
        }
        let samples = Samples(vec![4.0, 1.0, 2.0]);
        assert_eq!(
            (samples.percentile(0.99), samples.percentile(0.5), Samples::default().percentile(0.5)),
            (4.0, 2.0, 0.0)
        );
        assert_eq!((samples.least(), samples.largest(), samples.last(), samples.count()), (1.0, 4.0, 2.0, 3));
    }
}
