//! Cases of cast: to bf16 and back.

use engine::{DType, Real, Result, Tensor};

use super::reference::rounded;
use super::{NAME, cast};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of cast.
pub fn cases() -> OpCases {
    let shapes: [&[usize]; 4] = [&[1], &[3, 5, 7], &[2, 65, 131], &[17_001]];
    OpCases {
        name: NAME,
        cases: shapes.iter().map(|dims| case(dims)).collect(),
        random: |draw: &mut Draw| case(&[draw.range(1, 9), draw.range(1, 90)]),
        bench: vec![case(&[64, 65, 768])],
    }
}

fn case(dims: &[usize]) -> Case {
    Case::op(
        format!("{NAME} {dims:?} bf16"),
        vec![Input::new(dims, Fill::Normal(2.0))],
        &[0],
        |tape, inputs| {
            let narrow = cast(tape, inputs[0], DType::Bf16)?;
            let wide = tape.spec(inputs[0])?.dtype;
            cast(tape, narrow, wide)
        },
        naive::<f32>,
        naive::<f64>,
    )
    // A staircase: differences see its steps.
    .not_differentiable()
    .stored_as(DType::Bf16)
}

fn naive<T: Real>(inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    [inputs.first(), dy].into_iter().flatten().map(rounded::<T>).collect()
}
