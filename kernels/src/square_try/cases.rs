//! Cases of square_try.

use engine::rng::{Philox, Stream};
use engine::{Real, Result, Tensor};

use super::{COLUMNS, Draws, ENDS, NAME, Origin, Search, pyramids, pyramids_len, reference, square_try};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::progress::Ball;

const STREAM: &str = "square";

/// The cases of square_try.
pub fn cases() -> OpCases {
    let own = |ball| Search { ball, draws: Draws::Own };
    // The last proposal of each phase, and the first of the next.
    let all: Vec<u32> = [0, 1, 2].into_iter().chain(ENDS.iter().flat_map(|&end| [end + 1, end + 2])).collect();
    let mut cases = Vec::new();
    for ball in [Ball::Linf, Ball::L2] {
        cases.extend([
            case(own(ball), &[1, 1, 1, 1], 0.3, &[1]),
            case(own(ball), &[21, 3, 32, 32], 0.3, &all),
            case(own(ball), &[21, 1, 28, 28], 0.3, &all),
            case(own(ball), &[2, 3, 13, 7], 0.3, &[0, 40]),
            case(own(ball), &[1, 5, 61, 53], 0.3, &[700]),
            case(Search { ball, draws: Draws::Shared }, &[3, 3, 8, 8], 0.3, &[0, 5, 5]),
        ]);
    }
    cases.push(full());
    OpCases {
        name: NAME,
        cases,
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 3), draw.range(3, 19), draw.range(3, 19)];
            let judged: Vec<u32> = (0..dims[0]).map(|_| draw.pick(&[0, 1, 30, 2500, 8500])).collect();
            let search = Search { ball: draw.pick(&[Ball::Linf, Ball::L2]), draws: Draws::Own };
            case(search, &dims, draw.pick(&[0.03, 0.5]), &judged)
        },
        bench: vec![
            case(own(Ball::Linf), &[64, 3, 32, 32], 0.03, &[100; 64]),
            case(own(Ball::L2), &[8, 3, 224, 224], 3.0, &[100; 8]),
        ],
    }
}

fn case(search: Search, dims: &[usize; 4], eps: f32, judged: &[u32]) -> Case {
    // Within the L2 ball too, with something to spare.
    let most = if search.ball == Ball::L2 { eps / root(dims) } else { eps };
    of(format!("{NAME} {:?} {:?} {dims:?} eps {eps}", search.ball, search.draws), search, dims, [eps, most], judged)
}

/// The best perturbation lies outside the ball, as rounding can leave it: it has nothing to spare.
fn full() -> Case {
    let (search, dims) = (Search { ball: Ball::L2, draws: Draws::Own }, [2, 3, 8, 9]);
    of(format!("{NAME} full"), search, &dims, [0.3, 0.6 / root(&dims)], &[0, 5])
}

#[expect(clippy::cast_precision_loss, reason = "sizes of cases")]
fn root([_, c, h, w]: &[usize; 4]) -> f32 {
    ((c * h * w) as f32).sqrt()
}

/// Elements of the best perturbation are at most `most`.
fn of(label: String, search: Search, dims: &[usize; 4], [eps, most]: [f32; 2], judged: &[u32]) -> Case {
    let [_, _, h, w] = *dims;
    #[expect(clippy::cast_precision_loss, reason = "counts of proposals")]
    let rows = judged.iter().flat_map(|&judged| [eps, 1.0, judged as f32, 0.0]).collect();
    let shapes: Vec<f32> = pyramids(h, w).into_iter().map(f32::from_f64).collect();
    let inputs = vec![
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(dims, Fill::Uniform(-most, most)),
        Input::new(dims, Fill::Uniform(0.0, 1.0)),
        Input::new(&[dims[0]], Fill::Ids),
        Input::new(&[dims[0], COLUMNS], Fill::Exactly(rows)),
        Input::new(&[4], Fill::RandomState(3)),
        Input::new(&[pyramids_len(h, w)], Fill::Exactly(shapes)),
    ];
    Case::update(
        label,
        inputs,
        1,
        move |tape, store, states, x| {
            let origin = Origin { best: x[0], images: x[1], ids: x[2], progress: x[3], state: x[4], pyramids: x[5] };
            square_try(tape, store, search, states[0], origin, STREAM)
        },
        move |inputs, _| naive::<f32>(search, inputs),
        move |inputs, _| naive::<f64>(search, inputs),
    )
}

fn naive<T: Real>(search: Search, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let [_, c, h, w] = inputs[0].spec().array(NAME, "trial")?;
    let (best, images, ids) = (inputs[1].values::<T>()?, inputs[2].values::<T>()?, inputs[3].values::<u32>()?);
    let (rows, words) = (inputs[4].values::<T>()?, inputs[5].values::<u32>()?);
    let mut trial = Vec::new();
    for (i, row) in rows.chunks_exact(COLUMNS).enumerate() {
        let at = i * c * h * w..(i + 1) * c * h * w;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of proposals")]
        let judged = row[2].to_f64() as u32;
        let sample = reference::Sample {
            best: &best[at.clone()],
            image: &images[at],
            eps: row[0],
            judged,
            id: if search.draws == Draws::Shared { 0 } else { ids[i] },
            philox: Philox::from_state([words[0], words[1], judged, 0], Stream::named(STREAM)),
            dims: [c, h, w],
            pyramids: inputs[6].values::<T>()?,
        };
        trial.extend(reference::propose(search.ball, &sample));
    }
    Ok(vec![Tensor::new(inputs[0].dims(), &trial)?])
}
