//! Cases of tokens.

use engine::{Real, Result, Tensor};

use super::reference::{self, Piece};
use super::{NAME, Parts, tokens};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// Which parts a case has.
#[derive(Clone, Copy, Debug)]
struct Setup {
    b: usize,
    p: usize,
    d: usize,
    class: bool,
    distillation: bool,
    registers: usize,
    position: Option<Reach>,
    noise: Option<Sharing>,
}

#[derive(Clone, Copy, Debug)]
enum Reach {
    All,
    Patches,
}

#[derive(Clone, Copy, Debug)]
enum Sharing {
    Batch,
    Sample,
}

const PLAIN: Setup =
    Setup { b: 2, p: 9, d: 5, class: false, distillation: false, registers: 0, position: None, noise: None };

/// The cases of tokens.
pub fn cases() -> OpCases {
    let vit = Setup { class: true, position: Some(Reach::All), ..PLAIN };
    OpCases {
        name: NAME,
        cases: [
            Setup { b: 1, p: 1, d: 1, ..PLAIN },
            PLAIN,
            vit,
            Setup { b: 3, p: 64, d: 48, ..vit },
            Setup { distillation: true, noise: Some(Sharing::Batch), ..vit },
            Setup { registers: 4, position: Some(Reach::Patches), noise: Some(Sharing::Sample), ..vit },
            Setup { registers: 3, distillation: true, ..vit },
            Setup { position: Some(Reach::All), noise: Some(Sharing::Sample), ..PLAIN },
            Setup { b: 1, noise: Some(Sharing::Batch), position: Some(Reach::All), ..PLAIN },
            Setup { b: 2, p: 196, d: 131, noise: Some(Sharing::Batch), ..vit },
        ]
        .into_iter()
        .map(case)
        .collect(),
        random: |draw: &mut Draw| {
            case(Setup {
                b: draw.range(1, 4),
                p: draw.range(1, 9),
                d: draw.range(1, 20),
                class: draw.flag(),
                distillation: draw.flag(),
                registers: draw.range(0, 3),
                position: draw.pick(&[None, Some(Reach::All), Some(Reach::Patches)]),
                noise: draw.pick(&[None, Some(Sharing::Batch), Some(Sharing::Sample)]),
            })
        },
        bench: vec![
            case(Setup { b: 64, p: 64, d: 192, ..vit }),
            case(Setup { b: 8, p: 196, d: 192, noise: Some(Sharing::Batch), ..vit }),
        ],
    }
}

/// (first token, dims) of each input, in the order in which [`tokens`] takes them.
fn layout(setup: &Setup) -> Vec<(usize, [usize; 3])> {
    let Setup { b, p, d, .. } = *setup;
    let mut prefix = Vec::new();
    let mut n = 0;
    for rows in [usize::from(setup.class), usize::from(setup.distillation), setup.registers] {
        if rows > 0 {
            prefix.push((n, [1, rows, d]));
            n += rows;
        }
    }
    let mut inputs = vec![(n, [b, p, d])];
    inputs.extend(prefix);
    inputs.extend(setup.position.map(|reach| match reach {
        Reach::All => (0, [1, n + p, d]),
        Reach::Patches => (n, [1, p, d]),
    }));
    inputs.extend(setup.noise.map(|sharing| match sharing {
        Sharing::Batch => (n, [1, p, d]),
        Sharing::Sample => (n, [b, p, d]),
    }));
    inputs
}

fn case(setup: Setup) -> Case {
    let layout = layout(&setup);
    let wanted: Vec<usize> = (0..layout.len()).collect();
    Case::op(
        format!("{NAME} {setup:?}"),
        layout.iter().map(|(_, dims)| Input::new(dims, Fill::Normal(1.0))).collect(),
        &wanted,
        move |tape, inputs| {
            let mut rest = inputs.iter().skip(1).copied();
            let mut next = |present: bool| if present { rest.next() } else { None };
            let parts = Parts {
                class: next(setup.class),
                distillation: next(setup.distillation),
                registers: next(setup.registers > 0),
                position: next(setup.position.is_some()),
                noise: next(setup.noise.is_some()),
            };
            tokens(tape, inputs[0], parts)
        },
        move |inputs, dy| naive::<f32>(&setup, inputs, dy),
        move |inputs, dy| naive::<f64>(&setup, inputs, dy),
    )
}

fn naive<T: Real>(setup: &Setup, inputs: &[Tensor], cotangent: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let layout = layout(setup);
    let dims = [setup.b, layout[0].0 + setup.p, setup.d];
    let pieces = layout
        .iter()
        .zip(inputs)
        .map(|(&(first, [_, tokens, _]), tensor)| Ok(Piece { first, tokens, values: tensor.values::<T>()? }))
        .collect::<Result<Vec<_>>>()?;
    let mut results = vec![Tensor::new(&dims, &reference::forward(dims, &pieces))?];
    if let Some(dy) = cotangent {
        for (piece, input) in pieces.iter().zip(inputs) {
            results.push(Tensor::new(input.dims(), &reference::backward(dims, piece, dy.values()?))?);
        }
    }
    Ok(results)
}
