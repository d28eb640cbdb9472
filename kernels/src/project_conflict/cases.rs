//! Cases of project_conflict.

use engine::{Real, Result, Tensor};

use super::{NAME, Projection, project_conflict, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const WEIGHT: f32 = 0.75;

/// The cases of project_conflict.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], 1.0, 1.0, Projection::Exact),
            case(&[9, 1, 7, 5], 1.0, 1.0, Projection::Exact),
            case(&[5, 3, 13, 11], 1e-3, 1.0, Projection::Exact),
            case(&[5, 3, 13, 11], 0.5, 1.0, Projection::Published),
            case(&[7, 65], 1e-25, 1e-22, Projection::Exact), // products and squares of such gradients are no floats
            opposed(),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            case(&dims, draw.pick(&[1.0, 1e-2]), 1.0, draw.pick(&[Projection::Exact, Projection::Published]))
        },
        bench: vec![
            case(&[64, 3, 32, 32], 1.0, 1.0, Projection::Exact),
            case(&[8, 3, 224, 224], 1.0, 1.0, Projection::Exact),
        ],
    }
}

fn case(dims: &[usize], main: f32, secondary: f32, projection: Projection) -> Case {
    let label = format!("{NAME} {dims:?} g {main} h {secondary} {projection:?}");
    of(label, dims, [Fill::Normal(main), Fill::Normal(secondary)], secondary, projection)
}

/// A conflict that takes h out altogether, none at all, right angles, and no main gradient.
fn opposed() -> Case {
    let g = Fill::Exactly(vec![1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 0.0, 0.0]);
    let h = Fill::Exactly(vec![-2.0, -4.0, 2.0, 4.0, -2.0, 1.0, 3.0, 5.0]);
    of(format!("{NAME} opposed"), &[4, 2], [g, h], 1.0, Projection::Exact)
}

fn of(label: String, dims: &[usize], [g, h]: [Fill; 2], scale: f32, projection: Projection) -> Case {
    let inputs = vec![Input::new(dims, Fill::Normal(scale)), Input::new(dims, g), Input::new(dims, h)];
    Case::op(
        label,
        inputs,
        &[],
        move |tape, x| project_conflict(tape, x[0], x[1], x[2], WEIGHT, projection),
        move |inputs, _| naive::<f32>(inputs, projection),
        move |inputs, _| naive::<f64>(inputs, projection),
    )
}

fn naive<T: Real>(inputs: &[Tensor], projection: Projection) -> Result<Vec<Tensor>> {
    let dims = inputs[0].dims();
    let width = dims.iter().skip(1).product::<usize>();
    let [sum, g, h] = [0, 1, 2].map(|at| inputs[at].values::<T>());
    let rows = sum?.chunks(width).zip(g?.chunks(width)).zip(h?.chunks(width));
    let published = projection == Projection::Published;
    let weight = T::from_f32(WEIGHT);
    let y: Vec<T> = rows.flat_map(|((sum, g), h)| reference::forward(sum, g, h, weight, published)).collect();
    Ok(vec![Tensor::new(dims, &y)?])
}
