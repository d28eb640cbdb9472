//! Cases of box_adam.

use engine::{Real, Result, Tensor};

use super::{BoxAdamStep, NAME, box_adam, rates, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of box_adam.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], 1, vec![1.0]),
            case(&[3, 1, 7, 5], 7, vec![1.0, 0.0, 1.0]),
            case(&[2, 3, 16, 16], 250, vec![1.0, 1.0]),
            special(),
        ],
        random: |draw: &mut Draw| {
            let b = draw.range(1, 4);
            let active = (0..b).map(|_| draw.pick(&[0.0, 1.0])).collect();
            let t = u32::try_from(draw.range(1, 99)).unwrap_or(1);
            case(&[b, draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)], t, active)
        },
        bench: vec![case(&[64, 3, 32, 32], 9, vec![1.0; 64]), case(&[8, 3, 224, 224], 9, vec![1.0; 8])],
    }
}

fn case(dims: &[usize], t: u32, active: Vec<f32>) -> Case {
    of(format!("{NAME} {dims:?} t {t} active {}", active.len()), dims, t, Fill::Normal(1.0), active)
}

/// Gradients that are 0 or not finite.
fn special() -> Case {
    let g = Fill::Exactly(vec![0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0]);
    of(format!("{NAME} zeros and NaN"), &[1, 6], 3, g, vec![1.0])
}

fn of(label: String, dims: &[usize], t: u32, gradient: Fill, active: Vec<f32>) -> Case {
    let inputs = vec![
        Input::new(dims, Fill::Uniform(-0.5, 0.5)),
        Input::new(dims, Fill::Normal(0.1)),
        Input::new(dims, Fill::Uniform(0.0, 0.1)),
        Input::new(dims, gradient),
        Input::new(dims, Fill::Uniform(-0.6, -0.3)),
        Input::new(dims, Fill::Uniform(0.3, 0.6)),
        Input::new(&[2], Fill::Exactly(rates(0.22, t).to_vec())),
        Input::new(&[active.len()], Fill::Exactly(active)),
    ];
    Case::update(
        label,
        inputs,
        3,
        |tape, store, states, x| {
            let (value, first_moment, second_moment) = (states[0], states[1], states[2]);
            let (gradient, low, high, rates, active) = (x[0], x[1], x[2], x[3], x[4]);
            let step = BoxAdamStep { value, first_moment, second_moment, gradient, low, high, rates, active };
            box_adam(tape, store, step)
        },
        |inputs, _| naive::<f32>(inputs),
        |inputs, _| naive::<f64>(inputs),
    )
}

fn naive<T: Real>(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let dims = inputs[0].dims();
    let width = dims.iter().skip(1).product::<usize>();
    let state = |at: usize| Ok(inputs[at].values::<T>()?.to_vec());
    let mut states = [state(0)?, state(1)?, state(2)?];
    let (rates, active) = (inputs[6].values::<T>()?, inputs[7].values::<T>()?);
    for sample in (0..dims[0]).filter(|&sample| active[sample] != T::ZERO) {
        let at = sample * width..(sample + 1) * width;
        let read = |input: usize| Ok(&inputs[input].values::<T>()?[at.clone()]);
        let fixed = [read(3)?, read(4)?, read(5)?];
        reference::step(states.each_mut().map(|state| &mut state[at.clone()]), fixed, rates);
    }
    states.iter().map(|state| Tensor::new(dims, state)).collect()
}
