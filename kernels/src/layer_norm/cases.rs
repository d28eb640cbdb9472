//! Cases of layer_norm.

use engine::{Real, Result, Tensor};

use super::{NAME, layer_norm, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of layer_norm.
pub fn cases() -> OpCases {
    // Rows beyond 64 * 16 make blocks of more than 16 rows; 1,039 leaves the last one short.
    let shapes: [&[usize]; 7] =
        [&[1, 2], &[3, 7], &[2, 5, 64], &[2, 65, 48], &[1, 197, 192], &[1039, 13], &[3, 11, 131]];
    let mut cases: Vec<Case> = shapes.iter().map(|dims| case(dims, 1e-6, &[0, 1, 2])).collect();
    // Widths of other models, each in other registers on CUDA; 1030 and 1280 are too wide for any.
    let widths: [&[usize]; 6] = [&[5, 384], &[37, 768], &[9, 1024], &[17, 601], &[70, 1030], &[3, 1280]];
    cases.extend(widths.iter().map(|dims| case(dims, 1e-6, &[0, 1, 2])));
    cases.extend([601, 768, 1030].map(|width| case(&[3, width], 1e-6, &[0])));
    cases.push(case(&[33, 1030], 1e-6, &[2]));
    // An eps that counts beside the variance.
    cases.extend([7, 1030].map(|width| case(&[3, width], 0.5, &[0, 1, 2])));
    cases.push(case(&[4, 9, 30], 1e-6, &[0]));
    cases.push(case(&[40, 9], 1e-12, &[1, 2]));
    cases.push(case(&[40, 9], 1e-5, &[2]));
    OpCases {
        name: NAME,
        cases,
        random: |draw: &mut Draw| {
            let wanted = draw.pick(&[&[0, 1, 2][..], &[0], &[1, 2], &[2], &[0, 1]]);
            case(&[draw.range(1, 4), draw.range(1, 30), draw.range(2, 70)], 1e-6, wanted)
        },
        bench: vec![
            case(&[64, 65, 192], 1e-6, &[0, 1, 2]),
            case(&[64, 65, 192], 1e-6, &[0]),
            case(&[8, 197, 192], 1e-6, &[0, 1, 2]),
        ],
    }
}

fn case(dims: &[usize], eps: f32, wanted: &'static [usize]) -> Case {
    let width = dims.last().copied().unwrap_or(1);
    Case::op(
        format!("{NAME} {dims:?} eps {eps:e} d{wanted:?}"),
        // A mean far from 0 is where careless variances cancel. Far apart, too, so that no row of two is nearly constant:
        // there the differences of the gradient check would not see a smooth function.
        vec![
            Input::new(dims, Fill::Exactly(spread(dims))),
            Input::new(&[width], Fill::Uniform(0.5, 1.5)),
            Input::new(&[width], Fill::Normal(0.5)),
        ],
        wanted,
        move |tape, inputs| layer_norm(tape, inputs[0], inputs[1], inputs[2], eps),
        move |inputs, dy| naive::<f32>(inputs, dy, eps, wanted),
        move |inputs, dy| naive::<f64>(inputs, dy, eps, wanted),
    )
}

/// Values about 3 with a standard deviation about 1, neighbours at least 0.3 apart.
fn spread(dims: &[usize]) -> Vec<f32> {
    let mut draw = Draw::new(17);
    let count = dims.iter().product();
    let mut level = 0;
    (0..count)
        .map(|_| {
            level = (level + draw.range(1, 9)) % 10;
            let noise = u16::try_from(draw.range(0, 1000)).unwrap_or(0);
            1.5 + 0.35 * f32::from(u8::try_from(level).unwrap_or(0)) + 5e-5 * f32::from(noise)
        })
        .collect()
}

fn naive<T: Real>(inputs: &[Tensor], dy: Option<&Tensor>, eps: f32, wanted: &[usize]) -> Result<Vec<Tensor>> {
    let [x, weight, bias] = [inputs[0].values::<T>()?, inputs[1].values()?, inputs[2].values()?];
    let mut results = vec![Tensor::new(inputs[0].dims(), &reference::forward(x, weight, bias, eps))?];
    if let Some(dy) = dy {
        let (dx, d_weight, d_bias) = reference::backward(x, weight, eps, dy.values()?);
        let gradients = [dx, d_weight, d_bias];
        for &at in wanted {
            results.push(Tensor::new(inputs[at].dims(), &gradients[at])?);
        }
    }
    Ok(results)
}
