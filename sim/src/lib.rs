//! Many phones in a simulated district.
