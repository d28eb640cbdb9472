//! Cases of log_received.

use engine::{Real, Result, Tensor};

use super::{NAME, log_received, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of log_received.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![case([1, 1, 1, 1]), case([3, 5, 2, 7]), case([2, 65, 3, 16]), case([2, 197, 6, 4]), unattended()],
        random: |draw: &mut Draw| case([draw.range(1, 4), draw.range(1, 80), draw.range(1, 3), draw.range(1, 9)]),
        bench: vec![case([64, 65, 3, 64]), case([8, 197, 6, 64])],
    }
}

fn case(dims: [usize; 4]) -> Case {
    of(format!("{NAME} {dims:?}"), dims, Fill::Uniform(0.2, 1.0))
}

/// Queries that do not attend at all, and one that hardly does.
fn unattended() -> Case {
    let x = vec![0.0, 0.0, 1e-35, 1e-32, 1e-20, 0.0, 0.25, 0.5];
    of(format!("{NAME} unattended"), [1, 4, 2, 1], Fill::Exactly(x)).not_differentiable() // the floor is a kink
}

fn of(label: String, dims: [usize; 4], fill: Fill) -> Case {
    let [b, n, h, d] = dims;
    Case::op(
        label,
        vec![Input::new(&[b, n, h * d], fill)],
        &[0],
        move |tape, x| log_received(tape, x[0], h),
        move |inputs, dy| naive::<f32>(dims, inputs, dy),
        move |inputs, dy| naive::<f64>(dims, inputs, dy),
    )
}

fn naive<T: Real>(dims: [usize; 4], inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let x = inputs[0].values::<T>()?;
    let mut results = vec![Tensor::new(&[dims[0]], &reference::forward(dims, x))?];
    if let Some(dy) = dy {
        results.push(Tensor::new(inputs[0].dims(), &reference::backward(dims, x, dy.values()?))?);
    }
    Ok(results)
}
