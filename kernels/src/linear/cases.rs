//! Cases of linear.

use engine::{Real, Result, Tensor};

use super::{Activation, NAME, Sizes, linear, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of linear.
pub fn cases() -> OpCases {
    let gelu = Some(Activation::Gelu);
    let relu = Some(Activation::Relu);
    OpCases {
        name: NAME,
        cases: vec![
            case(1, 1, 1, true, None),
            case(3, 5, 7, false, None),
            case(65, 48, 33, true, gelu),
            case(130, 19, 64, true, relu),
            case(197, 96, 32, false, gelu),
            case(13, 130, 257, true, None),
            case(530, 20, 12, true, gelu),
            // Whole vectors of 8 but no whole tiles: what tensor cores take in bf16.
            case(1, 8, 8, true, None),
            case(77, 72, 40, true, gelu),
            case(150, 208, 136, false, relu),
            case(70, 1000, 24, true, None),
            // Gradients of weights that are sums of several parts.
            case(1100, 24, 16, true, gelu),
            // Several large tiles, one block after another: what sm_90 divides among blocks that stay.
            case(300, 400, 136, true, gelu),
            case(1100, 200, 72, true, None),
            case(380, 376, 256, true, None),
            // The slope of one layer in the product of the next one's gradient.
            layers(70, [24, 72, 40]),
            layers(9, [5, 11, 3]),
        ],
        random: |draw: &mut Draw| {
            let (m, n, k) = (draw.range(1, 40), draw.range(1, 40), draw.range(1, 40));
            case(m, n, k, draw.flag(), draw.pick(&[None, Some(Activation::Gelu), Some(Activation::Relu)]))
        },
        bench: vec![
            case(64 * 65, 576, 192, true, None),
            case(64 * 65, 192, 192, true, None),
            case(64 * 65, 768, 192, true, gelu),
            case(64 * 65, 192, 768, true, None),
            case(8 * 197, 768, 192, true, gelu),
        ],
    }
}

fn case(m: usize, n: usize, k: usize, bias: bool, activation: Option<Activation>) -> Case {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a scale")]
    let scale = (1.0 / (k as f64).sqrt()) as f32;
    let mut inputs = vec![Input::new(&[m, k], Fill::Normal(1.0)), Input::new(&[n, k], Fill::Normal(scale))];
    if bias {
        inputs.push(Input::new(&[n], Fill::Normal(0.5)));
    }
    let wanted: Vec<usize> = (0..inputs.len()).collect();
    let name = activation.map_or("", |activation| activation.name());
    let case = Case::op(
        format!("{NAME} m{m} n{n} k{k}{} {name}", if bias { " bias" } else { "" }),
        inputs,
        &wanted,
        move |tape, inputs| linear(tape, inputs[0], inputs[1], inputs.get(2).copied(), activation),
        move |inputs, dy| naive::<f32>(inputs, dy, activation),
        move |inputs, dy| naive::<f64>(inputs, dy, activation),
    );
    // Differences step over ReLU's kink.
    if activation == Some(Activation::Relu) { case.not_differentiable() } else { case }
}

/// A layer with GELU and one after it, of these widths.
fn layers(m: usize, [k, hidden, n]: [usize; 3]) -> Case {
    let inputs = vec![
        Input::new(&[m, k], Fill::Normal(1.0)),
        Input::new(&[hidden, k], Fill::Normal(0.3)),
        Input::new(&[hidden], Fill::Normal(0.5)),
        Input::new(&[n, hidden], Fill::Normal(0.2)),
    ];
    Case::op(
        format!("{NAME} m{m} k{k} gelu n{hidden} then n{n}"),
        inputs,
        &[0, 1, 2, 3],
        |tape, inputs| {
            let h = linear(tape, inputs[0], inputs[1], Some(inputs[2]), Some(Activation::Gelu))?;
            linear(tape, h, inputs[3], None, None)
        },
        naive_layers::<f32>,
        naive_layers::<f64>,
    )
}

fn naive_layers<T: Real>(inputs: &[Tensor], cotangent: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let [x, first, bias, second] = inputs else { return Ok(Vec::new()) };
    let layer = [x.clone(), first.clone(), bias.clone()];
    let h = naive::<T>(&layer, None, Some(Activation::Gelu))?.remove(0);
    let mut results = naive::<T>(&[h, second.clone()], cotangent, None)?;
    if let (Some(_), [_, dh, _]) = (cotangent, results.as_slice()) {
        let gradients = naive::<T>(&layer, Some(dh), Some(Activation::Gelu))?;
        results.splice(1..2, gradients.into_iter().skip(1));
    }
    Ok(results)
}

fn naive<T: Real>(
    inputs: &[Tensor],
    cotangent: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<Vec<Tensor>> {
    let specs: Vec<_> = inputs.iter().map(Tensor::spec).collect();
    let sizes = Sizes::of(&specs);
    let (x, weight) = (inputs[0].values::<T>()?, inputs[1].values::<T>()?);
    let bias = inputs.get(2).map(|bias| bias.values::<T>()).transpose()?;
    let a = reference::product(sizes, x, weight, bias);
    let mut results = vec![Tensor::new(&[sizes.m, sizes.n], &reference::activate(activation, &a))?];
    if let Some(dy) = cotangent {
        let (dx, dw, db) = reference::backward(sizes, activation, x, weight, &a, dy.values::<T>()?);
        results.push(Tensor::new(inputs[0].dims(), &dx)?);
        results.push(Tensor::new(inputs[1].dims(), &dw)?);
        if bias.is_some() {
            results.push(Tensor::new(&[sizes.n], &db)?);
        }
    }
    Ok(results)
}
