//! Cases of activation.

use engine::{Real, Result, Tensor};

use super::{Activation, NAME, activation};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of activation.
pub fn cases() -> OpCases {
    let shapes: [&[usize]; 4] = [&[1], &[3, 5, 7], &[2, 65, 131], &[17_001]];
    OpCases {
        name: NAME,
        cases: shapes.iter().flat_map(|dims| [case(dims, Activation::Gelu), case(dims, Activation::Relu)]).collect(),
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 9), draw.range(1, 90)];
            case(&dims, draw.pick(&[Activation::Gelu, Activation::Relu]))
        },
        bench: vec![case(&[64, 65, 768], Activation::Gelu), case(&[64, 65, 768], Activation::Relu)],
    }
}

fn case(dims: &[usize], which: Activation) -> Case {
    let fill = match which {
        Activation::Gelu => Fill::Normal(2.0),
        // Away from the kink, over which differences would step.
        Activation::Relu => {
            let mut draw = Draw::new(5);
            let mut value = || f32::from(u16::try_from(draw.range(100, 3000)).unwrap_or(0)) * 1e-3;
            let mut sign = Draw::new(6);
            Fill::Exactly((0..dims.iter().product()).map(|_| if sign.flag() { value() } else { -value() }).collect())
        }
    };
    Case::op(
        format!("{NAME} {dims:?} {}", which.name()),
        vec![Input::new(dims, fill)],
        &[0],
        move |tape, inputs| activation(tape, inputs[0], which),
        move |inputs, dy| naive::<f32>(which, inputs, dy),
        move |inputs, dy| naive::<f64>(which, inputs, dy),
    )
}

fn naive<T: Real>(which: Activation, inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let x = inputs[0].values::<T>()?;
    let y: Vec<T> = x.iter().map(|&x| which.value(x)).collect();
    let mut results = vec![Tensor::new(inputs[0].dims(), &y)?];
    if let Some(dy) = dy {
        let dx: Vec<T> = x.iter().zip(dy.values::<T>()?).map(|(&x, &dy)| dy * which.slope(x)).collect();
        results.push(Tensor::new(inputs[0].dims(), &dx)?);
    }
    Ok(results)
}
