//! Cases of sgd.

use engine::{Real, Result, Tensor};

use super::{NAME, Sgd, SgdStep, reference, sgd};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::decay::Decay;

/// The cases of sgd.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(1, 0.0, false, 1.0),
            case(1009, 0.9, false, 1.0),
            case(1009, 0.9, true, 0.25),
            case(40_001, 0.9, false, 0.5),
            case(16_384, 0.0, false, 0.5),
            case(65, 0.9, false, 0.0),
            case(65, 0.9, true, f32::NAN),
            case(65, 0.0, false, f32::INFINITY),
        ],
        random: |draw: &mut Draw| {
            let (momentum, nesterov) = draw.pick(&[(0.0, false), (0.5, false), (0.9, true)]);
            case(draw.range(1, 300), momentum, nesterov, draw.pick(&[1.0, 0.3]))
        },
        bench: vec![case(5_717_416, 0.9, false, 1.0), case(22_050_664, 0.9, false, 1.0)],
    }
}

/// Decay .1 in the first third, none in the second, .05 in the last.
fn decay(n: usize) -> (Decay, Vec<f64>) {
    let (a, b) = (n / 3, 2 * n / 3);
    let per_element = (0..n)
        .map(|i| {
            if i < a {
                0.1
            } else if i < b {
                0.0
            } else {
                0.05
            }
        })
        .collect();
    (Decay::ranges([(b..n, 0.05), (0..a, 0.1)]).unwrap_or(Decay::uniform(f64::NAN)), per_element)
}

fn case(n: usize, momentum: f64, nesterov: bool, clip: f32) -> Case {
    let states = 1 + usize::from(momentum > 0.0);
    let (decay, per_element) = decay(n);
    let options = Sgd { momentum, nesterov, decay };
    let mut inputs = vec![Input::new(&[n], Fill::Normal(1.0)); states + 1];
    inputs.push(Input::new(&[1], Fill::Exactly(vec![0.1])));
    inputs.push(Input::new(&[2], Fill::Exactly(vec![4.0, clip])));
    let (recorded, naive_options, oracle_options) = (options.clone(), options.clone(), options);
    let (naive_decay, oracle_decay) = (per_element.clone(), per_element);
    Case::update(
        format!("{NAME} n{n} momentum {momentum}{} clip {clip}", if nesterov { " nesterov" } else { "" }),
        inputs,
        states,
        move |tape, store, states, x| {
            let momentum = states.get(1).copied();
            let step = SgdStep { params: states[0], momentum, gradients: x[0], lr: x[1], clip: x[2] };
            sgd(tape, store, recorded.clone(), step)
        },
        move |inputs, _| naive::<f32>(&naive_options, &naive_decay, inputs),
        move |inputs, _| naive::<f64>(&oracle_options, &oracle_decay, inputs),
    )
}

fn naive<T: Real>(options: &Sgd, decay: &[f64], inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let (states, rest) = inputs.split_at(inputs.len() - 3);
    let mut p = states[0].values::<T>()?.to_vec();
    let mut u = states.get(1).map_or(Ok(vec![T::ZERO; p.len()]), |u| u.values::<T>().map(<[T]>::to_vec))?;
    let (g, lr, clip) = (rest[0].values::<T>()?, rest[1].values::<T>()?[0], rest[2].values::<T>()?[1]);
    reference::step(options, decay, &mut p, &mut u, g, lr, clip);
    [p, u].iter().take(states.len()).map(|values| Tensor::new(states[0].dims(), values)).collect()
}
