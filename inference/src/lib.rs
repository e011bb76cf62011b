//! Findings in, an assessment out.
