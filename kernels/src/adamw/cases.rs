//! Cases of adamw.

use engine::{Real, Result, Tensor};

use super::{AdamW, AdamWStep, NAME, adamw, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::decay::Decay;

/// The cases of adamw.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(1, 0, 1.0),
            case(1009, 0, 0.5),
            case(1009, 6, 1.0),
            case(40_001, 100_000, 1.0),
            case(65, 3, 0.0),
            case(65, 0, f32::NAN),
            case(16_385, 1, f32::INFINITY),
        ],
        random: |draw: &mut Draw| {
            let before = draw.pick(&[0, 1, 50]);
            case(draw.range(1, 300), before, draw.pick(&[1.0, 0.3]))
        },
        bench: vec![case(5_717_416, 10, 1.0), case(22_050_664, 10, 1.0)],
    }
}

fn case(n: usize, before: u32, clip: f32) -> Case {
    // Decay in the first half only: biases and normalisations are exempt.
    let half = n / 2;
    let decay = Decay::ranges([(0..half, 0.05)]).unwrap_or(Decay::uniform(f64::NAN));
    let options = AdamW { decay, ..AdamW::default() };
    let vector = |fill| Input::new(&[n], fill);
    let inputs = vec![
        vector(Fill::Normal(1.0)),
        vector(Fill::Normal(0.1)),
        vector(Fill::Uniform(0.0, 0.1)),
        Input::new(&[1], Fill::Words(vec![before])),
        vector(Fill::Normal(1.0)),
        Input::new(&[1], Fill::Exactly(vec![1e-2])),
        Input::new(&[2], Fill::Exactly(vec![4.0, clip])),
    ];
    let (recorded, in_f32, in_f64) = (options.clone(), options.clone(), options);
    Case::update(
        format!("{NAME} n{n} after {before} steps, clip {clip}"),
        inputs,
        4,
        move |tape, store, states, x| {
            let step = AdamWStep {
                params: states[0],
                first_moment: states[1],
                second_moment: states[2],
                steps: states[3],
                gradients: x[0],
                lr: x[1],
                clip: x[2],
            };
            adamw(tape, store, recorded.clone(), step)
        },
        move |inputs, _| naive::<f32>(&in_f32, inputs),
        move |inputs, _| naive::<f64>(&in_f64, inputs),
    )
}

fn naive<T: Real>(options: &AdamW, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let state = |at: usize| inputs[at].values::<T>().map(<[T]>::to_vec);
    let (mut p, mut m, mut v) = (state(0)?, state(1)?, state(2)?);
    let mut steps = inputs[3].values::<u32>()?[0];
    let (g, lr, clip) = (inputs[4].values::<T>()?, inputs[5].values::<T>()?[0], inputs[6].values::<T>()?[1]);
    if clip.is_finite() && clip > T::ZERO {
        let decay: Vec<f64> = (0..p.len()).map(|i| if i < p.len() / 2 { 0.05 } else { 0.0 }).collect();
        steps += 1;
        let t = i32::try_from(steps).unwrap_or(i32::MAX);
        reference::step(options, &decay, t, [&mut p, &mut m, &mut v], g, lr, clip);
    }
    let mut results = [p, m, v].iter().map(|x| Tensor::new(inputs[0].dims(), x)).collect::<Result<Vec<_>>>()?;
    results.push(Tensor::new(&[1], &[steps])?);
    Ok(results)
}
