//! Benches of Vitrum: `cargo bench -p vitrum-bench`. `bench/README.md` says what is measured and how.
