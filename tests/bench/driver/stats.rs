//! Medians and their like.

use crate::order::Sample;
use serde::Serialize;

/// What a set of calls comes to, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Summary {
    /// Calls.
    pub(crate) count: usize,
    /// Half of the calls took no longer.
    pub(crate) median: f64,
    /// 95 of a hundred took no longer.
    pub(crate) p95: f64,
    /// The quickest.
    pub(crate) least: f64,
    /// CPU of a call, the mean.
    pub(crate) cpu: f64,
}

impl Summary {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let mut walls: Vec<f64> = samples.iter().map(|sample| sample.wall).collect();
        walls.sort_unstable_by(f64::total_cmp);
        let count = walls.len();
        let at = |percent: usize| {
            walls.get((count * percent / 100).min(count.saturating_sub(1))).copied().unwrap_or_default()
        };
        Self { count, median: at(50), p95: at(95), least: at(0), cpu: mean(samples.iter().map(|sample| sample.cpu)) }
    }
}

/// The mean; 0 of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

/// The median of a few numbers.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_takes_the_middle_and_the_high_end() {
        let samples: Vec<Sample> = (1..=100).rev().map(|n| Sample { wall: f64::from(n), cpu: 2.0 }).collect();
        let summary = Summary::of(&samples);
        assert_eq!((summary.median, summary.p95, summary.least, summary.cpu), (51.0, 96.0, 1.0, 2.0));
        assert_eq!(Summary::of(&[]).count, 0);
    }
}
