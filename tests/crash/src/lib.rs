//! engine-crash-tests
