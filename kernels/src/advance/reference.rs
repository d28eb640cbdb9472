//! Plain loops.

/// A count or a random state after one step.
pub(super) fn step(words: &[u32]) -> Vec<u32> {
    let moving = if words.len() == 1 { 0 } else { 2 };
    words.iter().enumerate().map(|(at, &word)| if at == moving { word.wrapping_add(1) } else { word }).collect()
}
