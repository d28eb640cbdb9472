//! Vitrum: tests.
