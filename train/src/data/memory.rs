//! Whether a data set fits into memory, asked before it is read.

use engine::{Error, Result};

/// Refuses `count` images of `bytes` bytes if more memory would be needed than is available.
///
/// The kernel grants memory that it doesn't have and ends the process when it is touched: an error up front is kinder.
pub(super) fn check(place: &str, count: usize, bytes: usize) -> Result<usize> {
    let refuse = |available: &str| {
        Error::new(place, "the images don't fit into memory")
            .with("images", count)
            .with("bytes per image", bytes)
            .with("bytes available", available)
            .help("use a smaller image size or limit the number of images")
    };
    let needed = count.checked_mul(bytes).ok_or_else(|| refuse("fewer"))?;
    match available() {
        Some(available) if needed as u64 > available => Err(refuse(&available.to_string())),
        _ => Ok(needed),
    }
}

/// `MemAvailable` of Linux, bytes; `None` elsewhere.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_machine_has_is_refused_with_the_figures() {
        assert_eq!(check("x", 10, 3072).unwrap(), 30_720);
        let error = check("folder", usize::MAX, 2).unwrap_err().to_string();
        assert!(error.contains("folder") && error.contains("limit"), "{error}");
        if let Some(available) = available() {
            let more = usize::try_from(available).unwrap() * 2;
            assert!(check("folder", more, 1).unwrap_err().to_string().contains("bytes available"));
        }
    }
}
