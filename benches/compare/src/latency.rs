//! Latencies in buckets: 16 per power of two of nanoseconds, so a percentile is off by at most one part in 16.

/// Latency counts of one run.
#[derive(Clone, Default)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    nanos: u64,
}

const STEPS: u32 = 16;

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(u64::from(STEPS));
    let power = 63 - nanos.leading_zeros();
    let step = (nanos >> (power - 4)) & u64::from(STEPS - 1);
    (power * STEPS) as usize + step as usize
}

fn upper_bound(bucket: usize) -> u64 {
    let (power, step) = (bucket as u32 / STEPS, bucket as u64 % u64::from(STEPS));
    (1u64 << power) + ((step + 1) << (power - 4))
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, nanos: u64) {
        let bucket = bucket(nanos);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.nanos = self.nanos.saturating_add(nanos);
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Latencies) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    /// Nanoseconds on average; `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.nanos as f64 / self.count as f64)
    }

    /// Nanoseconds that the given share of the samples stayed below; `None` without samples.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        self.buckets.iter().enumerate().find_map(|(bucket, count)| {
            seen += count;
            (seen >= wanted && self.count > 0).then(|| upper_bound(bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_close_from_above() {
        let mut latencies = Latencies::default();
        (1..=1000u64).for_each(|n| latencies.record(n * 1000));
        for (share, exact) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let got = latencies.percentile(share).unwrap() as f64;
            assert!(got >= exact && got <= exact * 1.08, "{share}: {got}");
        }
        assert_eq!(Latencies::default().percentile(0.5), None);
    }
}
