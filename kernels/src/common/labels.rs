//! Class labels.

use engine::{Error, Result};

/// Refuses labels that name no class.
///
/// # Errors
/// The first such label, its sample, and the number of classes.
pub(crate) fn check(op: &str, labels: &[i32], classes: usize) -> Result<()> {
    match labels.iter().enumerate().find(|&(_, &label)| class(label) >= classes) {
        None => Ok(()),
        Some((sample, label)) => Err(Error::new(op, "a label names no class of the model")
            .with("label", label)
            .with("sample", sample)
            .with("classes", classes)
            .help("labels lie in 0..classes; pad a short batch with label 0 and weight 0")),
    }
}

/// The class, beyond all classes for a negative label.
#[inline(always)]
pub(crate) fn class(label: i32) -> usize {
    usize::try_from(label).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_bad_label() {
        assert!(check("op", &[0, 9], 10).is_ok());
        let text = check("op", &[3, -1, 10], 10).unwrap_err().to_string();
        assert!(text.contains("-1") && text.contains("sample   1"), "{text}");
        assert!(check("op", &[10], 10).is_err());
    }
}
