//! Writing gradients: the first contribution overwrites, later ones add.

use engine::{Mode, Real};

/// Writes `value` to `slot` or adds it there.
#[inline(always)]
pub fn put<T: Real>(mode: Mode, slot: &mut T, value: T) {
    *slot = match mode {
        Mode::Write => value,
        Mode::Add => *slot + value,
    };
}

/// Writes zeros; adds nothing at all, so that a NaN or infinity elsewhere can't reach `slots`.
pub fn put_zeros<T: Real>(mode: Mode, slots: &mut [T]) {
    if mode == Mode::Write {
        slots.fill(T::ZERO);
    }
}

/// Writes `values` or adds them. Copies the shorter length.
pub fn put_all<T: Real>(mode: Mode, slots: &mut [T], values: &[T]) {
    for (slot, &value) in slots.iter_mut().zip(values) {
        put(mode, slot, value);
    }
}
